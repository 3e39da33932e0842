"""A log of any shop, read by its mapping."""

import re
from collections.abc import Mapping as Dict
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.sources.expressions import UNREADABLE, Expression, evaluated, parsed, sql_name
from clm_spark.sources.formats import ID_FIELDS, NUMBER_FIELDS, Format, id_text, number_text, without_null_words
from clm_spark.sources.mapping import ADDRESS, ENDINGS, FILTER, TIME_FORMATS, Mapping, Recipe, unquoted
from clm_spark.sources.source import (
    Source,
    json_objects,
    placed_cells,
    read_lines,
    read_rows,
    unknown_members,
    with_fields,
)
from clm_spark.sources.text import CORRUPT, FirstLine, cell_name, with_cells
from clm_spark.tables.catalog import EVENT_KINDS

KIND = "kind"
# Kinds of which identical records of one file are as many events: who buys two of a kind may get two lines.
REPEATING = {"lines": ("purchase", "refund"), "one": (), "each": EVENT_KINDS}
READS_CUSTOMER = ("fields.customer_id", "fields.visitor_id", "fields.kind", KIND, FILTER)
DIGITS = r"^-?\d+$"
SIZES = ("quantity", "price", "amount", "discount", "tax", "shipping")


class MappedSource(Source):
    """A log read by a mapping; events carry the mapping's name as their source: `mapping:my_shop`."""

    def __init__(self, mapping: Mapping, *, name: str, time_zone: str = "UTC") -> None:
        """`time_zone` is the shop's, for a mapping without one.

        Raises `SettingsError` where the time format reads a zone from some texts only.
        """
        self.mapping = mapping
        self.name = f"mapping:{name}"
        self.time_format = mapping.time_format
        self.time_zone = mapping.time_zone or time_zone
        if self.time_zone != "UTC" and re.search(r"\[[^\]]*[VOXx]", unquoted(self.time_format)):
            raise SettingsError(
                f"mapping {name}: time_format {self.time_format!r} reads a zone from some texts, and those that name "
                f"none are of {self.time_zone}: expected a zone in all or in none of them, or time_format iso"
            )
        self.file_endings = mapping.endings or ENDINGS[mapping.format]
        # A record with an id of its own says itself what it repeats.
        self.has_own_ids = "event_id" in mapping.fields
        self.tells_lines_by_time = mapping.identical_records == "each"
        self.refuses_changes = mapping.same_id == "refused"
        self.last_by = mapping.last_by
        self.repeating = () if self.has_own_ids else REPEATING[mapping.identical_records]
        # Where every line is said to be of one kind, nothing tells returns from the rest, and their money would be missing.
        self.never_tolerated = ("negative_quantity",) if mapping.kind in EVENT_KINDS else ()
        self._parsed: dict[str, Expression] = {}

    def read(self, spark: SparkSession, files: Sequence[str]) -> DataFrame:
        """One row per CSV line, JSON object or Parquet row."""
        first_line = self._first_line(spark)
        if self.mapping.format == "parquet":
            return read_rows(spark, files, columns=first_line.needed)
        return read_lines(spark, files, first_line=first_line)

    def fields(self, raw: DataFrame) -> DataFrame:
        """Each record by the mapping; dots reach into JSON objects and Parquet structs."""
        mapping, expressions = self.mapping, self._expressions(raw.sparkSession)
        cells = self._with_texts(self._cells(raw, self._columns(expressions)))
        for place, each in expressions.items():
            read = {path: self._written(path, of_number=path in each.numbers) for path in each.columns}
            cells = evaluated(
                cells, each, name=self._key(place), cells=read, wanted=_wanted(place), time_zone=self.time_zone
            )
        fields = {name: self._value(f"fields.{name}", recipe) for name, recipe in mapping.fields.items()}
        if mapping.kind in EVENT_KINDS:
            fields[KIND] = F.lit(mapping.kind)
        else:
            fields[KIND] = self._kind(fields[KIND] if KIND in fields else self._value(KIND, (mapping.kind or "",)))
        # In a projection of their own, as they are read more than once below.
        rows = cells.withColumns({f"_field_{name}": value for name, value in fields.items()})
        texts = {name: F.col(f"_field_{name}") for name in fields}
        # A refund's sign says no more than its kind, and a discount is one whichever way it is written.
        for name in (size for size in SIZES if size in fields):
            is_size = F.lit(True) if name == "discount" else texts[KIND] == "refund"
            texts[name] = F.when(is_size, F.regexp_replace(texts[name], r"^-(?=[\d.])", "")).otherwise(texts[name])
        return with_fields(
            rows,
            texts,
            is_parsable=F.col("cells").isNotNull() & F.col(f"cells.{CORRUPT}").isNull(),
            attributes={name: self._value(f"attributes.{name}", recipe) for name, recipe in mapping.attributes.items()},
            extra=F.col("extra"),
            # What cannot be told is no reason to leave a record out: it may be worth money.
            is_wanted=F.coalesce(self._key(FILTER), F.lit(True)) if mapping.filter else None,
        )

    def advice(self, reason: str, values: Dict[str, str | None]) -> str:
        """What to write into the mapping where records are rejected for a reason; `values` are the fields concerned."""
        kind, quantity = values.get(KIND), self._name_of("quantity")
        if reason == "negative_quantity":
            sizes = (name for name in SIZES if name in self.mapping.fields)
            field = next((name for name, value in values.items() if (value or "").startswith("-")), next(sizes, ""))
            rule = f"case when {self._as_sql(field)} < 0 then 'refund' else {self._kind_as_sql()} end"
            place = "fields.kind" if KIND in self.mapping.fields else KIND
            return f'if such a line is a return, write `{place}: "{rule}"`'
        if reason == "bad_number":
            return (
                'say how numbers are written, as in `decimal: ","` and `thousands: "."`, or which words mean none in '
                "`null_words`"
            )
        if reason == "unknown_kind" and kind is not None:
            return f"write what it means, as in `kinds: {{{kind}: view}}`; a kind is one of {', '.join(EVENT_KINDS)}"
        if reason == "impossible_time":
            return (
                f"`time_format` is {self.time_format}: {', '.join(TIME_FORMATS)}, or a pattern such as dd.MM.yyyy HH:mm"
            )
        if reason == "wrong_encoding":
            return "set `encoding` (gbk, latin-1, windows-1252 ...)"
        if reason == "missing_customer":
            return (
                "name fields.visitor_id too if the log has a device or cookie; orders of guests are kept, as events of no "
                "customer, after --set ingest.guests=kept, and left out after --set ingest.max_rejected_share=SHARE"
            )
        if reason == "missing_item" and quantity:
            return "a line without an item needs an amount"
        return ""

    def _kind_as_sql(self) -> str:
        """What the mapping says of the kind so far."""
        kind = self.mapping.kind
        return f"'{kind}'" if kind in EVENT_KINDS else self._as_sql(KIND)

    def _as_sql(self, field: str) -> str:
        """What the mapping reads a field from, as a part of an expression."""
        recipe = self.mapping.fields.get(field) or (self.mapping.kind or "",)
        columns = self.mapping.columns_of(recipe)
        return sql_name(columns[0]) if columns else f"({recipe[0]})"

    def _name_of(self, field: str) -> str:
        recipe = self.mapping.fields.get(field, ())
        return (self.mapping.columns_of(recipe) or ("",))[0]

    def unseen(self, raw: DataFrame) -> list[str]:
        """Columns of the mapping that no record has; of CSV and Parquet the files' headers tell, and refuse, earlier."""
        if self.mapping.format != "jsonl":
            return []
        members = raw.select(F.explode(F.json_object_keys("record")).alias("name")).distinct().collect()
        seen = {row["name"] for row in members}
        read_by_sql = [(path,) for each in self._parsed.values() for path in each.columns]
        wanted = dict.fromkeys((*self.mapping.needed, *read_by_sql))
        return [
            names[0] for names in wanted if not seen & {part for name in names for part in (name, name.split(".")[0])}
        ]

    def _expressions(self, spark: SparkSession) -> dict[str, Expression]:
        """The mapping's expressions by place, checked once."""
        mapping = self.mapping
        if len(self._parsed) < len(mapping.expressions):
            for place, text in mapping.expressions.items():
                where = f"mapping {self.name.partition(':')[2]}, {place}"
                expression = parsed(spark, where, text, wanted=_wanted(place), number_columns=self._number_columns)
                unknown = [path for path in expression.columns if mapping.format == "csv" and path not in mapping.names]
                if unknown:
                    raise SettingsError(
                        f"{where}: {unknown[0]} is no column of the log: it has {', '.join(mapping.names)}; a name "
                        "with blanks or signs stands in `backticks`"
                    )
                if expression.is_time and place.startswith("fields.") and self.time_format != "iso":
                    raise SettingsError(
                        f"{where}: {text!r} gives a time, and time_format is {self.time_format}: expected a text in that "
                        "format, or time_format iso"
                    )
                self._parsed[place] = expression
            self._check_raw_ids()
        return self._parsed

    @property
    def _number_columns(self) -> set[str]:
        """The columns of quantities and money."""
        fields = self.mapping.fields
        return {column for name in NUMBER_FIELDS for column in self.mapping.columns_of(fields.get(name, ()))}

    def _check_raw_ids(self) -> None:
        """Refuse to write into silver what names a customer, as it is or by way of SQL."""
        mapping = self.mapping
        read = {
            place: (*mapping.columns_of(recipe), *self._read_by_sql(place)) for place, recipe in mapping.recipes.items()
        }
        who = read.get("fields.customer_id", ())
        for place, columns in read.items():
            if place in READS_CUSTOMER:
                continue
            same = [path for path in columns if any(f"{login}.".startswith(f"{path}.") for login in who)]
            if same:
                raise SettingsError(
                    f"mapping {self.name.partition(':')[2]}, {place} reads the customer's own column {same[0]}: raw ids stay "
                    "in bronze, leave it out"
                )
            addresses = [path for path in self._read_by_sql(place) if ADDRESS.search(path)]
            if addresses:
                raise SettingsError(
                    f"mapping {self.name.partition(':')[2]}, {place} reads an address: addresses stay in bronze, leave "
                    f"{addresses[0]} out"
                )

    def _read_by_sql(self, place: str) -> tuple[str, ...]:
        return self._parsed[place].columns if place in self._parsed else ()

    def _key(self, place: str) -> str:
        """The column with the value of an expression."""
        return f"_sql_{list(self.mapping.expressions).index(place)}"

    def _columns(self, expressions: Dict[str, Expression]) -> tuple[str, ...]:
        """The columns of a record: of CSV in the order of the usual line, then those of other files."""
        named = [name for recipe in self.mapping.recipes.values() for name in self.mapping.columns_of(recipe)]
        named += [path for each in expressions.values() for path in each.columns]
        if self.mapping.format == "csv":
            return tuple(dict.fromkeys((*self.mapping.names, *named)))
        return tuple(dict.fromkeys(part for path in named for part in (path, path.split(".")[0])))

    def _first_line(self, spark: SparkSession) -> FirstLine:
        mapping = self.mapping
        read_by_sql = [(path,) for each in self._expressions(spark).values() for path in each.columns]
        needed = tuple(
            dict.fromkeys((*mapping.needed, *(names for names in read_by_sql if names[0] not in mapping.optional)))
        )
        if mapping.format == "parquet":
            return FirstLine(needed=tuple((*names, *(name.split(".")[0] for name in names)) for names in needed))
        if mapping.format == "jsonl":
            return FirstLine(pattern=r"\s*\{", example='{"column": "value"}', encoding=mapping.encoding)
        if mapping.header is not None:
            return FirstLine(
                headers=(mapping.header,),
                needed=needed,
                separator=mapping.separator,
                money=mapping.money,
                ignored=mapping.ignored,
                encoding=mapping.encoding,
            )
        cut = re.escape(mapping.separator)
        cell = rf'(?:"(?:[^"]|"")*"|[^{cut}"][^{cut}]*)?'
        pattern = rf"{cell}(?:{cut}{cell}){{{len(mapping.columns) - 1}}}{cut}?$"
        example = mapping.separator.join(mapping.columns)
        return FirstLine(pattern=pattern, example=example, separator=mapping.separator, encoding=mapping.encoding)

    def _cells(self, raw: DataFrame, columns: Sequence[str]) -> DataFrame:
        if self.mapping.format == "csv":
            usual = len(self.mapping.names)
            return with_cells(
                raw,
                columns[:usual],
                further=columns[usual:],
                ignored=self.mapping.ignored,
                separator=self.mapping.separator,
            )
        objects = raw.withColumn("objects", json_objects(columns))
        known = (*columns, *self.mapping.ignored)
        one = F.when(F.size("objects") == 1, F.col("objects")[0])
        return objects.withColumns({"cells": placed_cells(one, columns), "extra": unknown_members(known)})

    def _with_texts(self, cells: DataFrame) -> DataFrame:
        """Add the text of each column that is read, or null, in a projection of its own, as many expressions read it."""
        named = [name for recipe in self.mapping.recipes.values() for name in self.mapping.columns_of(recipe)]
        read = dict.fromkeys((*named, *(path for each in self._parsed.values() for path in each.columns)))
        return cells.withColumns(
            {self._text(column): without_null_words(self._cell(column), self._null_words(column)) for column in read}
        )

    def _null_words(self, column: str) -> tuple[str, ...]:
        own = self.mapping.formats.get(column, Format()).null_words
        return self.mapping.null_words if own is None else own

    def _text(self, column: str) -> str:
        return f"_text_{self._columns(self._parsed).index(column)}"

    def _value(self, place: str, recipe: Recipe) -> Column:
        """The text of a field, the kind or an attribute."""
        name = place.partition(".")[2] if place.startswith("fields.") else place
        if place in self.mapping.expressions:
            value = F.col(self._key(place))
            # What a figure or a kind cannot be told from must not pass for one that is not given. A kind that is told from
            # the quantity leaves it to that field to say what is wrong.
            is_told = name in NUMBER_FIELDS or (
                name == KIND and not self._parsed[place].numbers <= self._number_columns
            )
            return F.coalesce(self._key(place) + UNREADABLE, value) if is_told else value
        columns = self.mapping.columns_of(recipe)
        value = F.coalesce(*(self._written(column, of_number=name in NUMBER_FIELDS) for column in columns))
        return id_text(value) if name in ID_FIELDS and self.mapping.ids == "normalised" else value

    def _kind(self, word: Column) -> Column:
        """The kind by the log's word, whatever its case."""
        said = F.lower(id_text(word))
        kind = said
        for theirs, ours in self.mapping.kinds.items():
            kind = F.when(said == theirs.strip().lower(), ours).otherwise(kind)
        return kind

    def _written(self, column: str, *, of_number: bool) -> Column:
        """A column's text as it is written, but for words that mean nothing and the ways to write a number."""
        mapping = self.mapping
        written, text = mapping.formats.get(column, Format()), F.col(self._text(column))
        declares = written.decimal or written.thousands
        if not of_number and not declares:
            return text
        decimal, thousands = (written if declares else mapping).decimal, (written if declares else mapping).thousands
        number = number_text(text, decimal=decimal, thousands=thousands, is_sure=mapping.format == "parquet")
        if mapping.format != "jsonl":
            return number
        # JSON's own numbers have a point; what stands in quotes is as ambiguous as in CSV.
        is_quoted = F.col("record").rlike(rf'"{re.escape(column.rsplit(".", 1)[-1])}"\s*:\s*"')
        return F.when(~text.rlike(DIGITS) & is_quoted, number).otherwise(text)

    def _cell(self, column: str) -> Column:
        columns = self._columns(self._parsed)
        own = F.col("cells")[cell_name(columns.index(column))]
        name, _, path = column.partition(".")
        if self.mapping.format == "csv" or not path:
            return own
        # A member may be called user.id, too.
        return F.coalesce(F.get_json_object(F.col("cells")[cell_name(columns.index(name))], f"$.{path}"), own)


def _wanted(place: str) -> str:
    return "boolean" if place == FILTER else "string"
