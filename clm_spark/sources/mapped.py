"""A log of any shop, read by its mapping."""

import re
from collections.abc import Mapping as Dict
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.sources.expressions import Expression, evaluated, parsed
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
SIZES = ("quantity", "price", "amount", "discount")


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
        self.repeating = () if "event_id" in mapping.fields else REPEATING[mapping.identical_records]
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
        cells = self._cells(raw, self._columns(expressions))
        if expressions:
            paths = {path for each in expressions.values() for path in each.columns}
            cells = evaluated(
                cells,
                {_key(place): each for place, each in expressions.items()},
                cells={
                    path: self._written(path, of_number=self._is_number(path, expressions)) for path in sorted(paths)
                },
                types={_key(place): "boolean" if place == FILTER else "string" for place in expressions},
            )
        fields = {name: self._value(f"fields.{name}", recipe) for name, recipe in mapping.fields.items()}
        if mapping.kind in EVENT_KINDS:
            kind = F.lit(mapping.kind)
        else:
            kind = self._kind(fields[KIND] if KIND in fields else F.col(_key(KIND)))
        # A refund's sign says no more than its kind, and a discount is one whichever way it is written.
        for name in SIZES:
            if name in fields:
                size = F.regexp_replace(fields[name], r"^-(?=[\d.])", "")
                is_size = F.lit(True) if name == "discount" else kind == "refund"
                fields[name] = F.when(is_size, size).otherwise(fields[name])
        return with_fields(
            cells,
            {**fields, KIND: kind},
            is_parsable=F.col("cells").isNotNull() & F.col(f"cells.{CORRUPT}").isNull(),
            attributes={name: self._value(f"attributes.{name}", recipe) for name, recipe in mapping.attributes.items()},
            extra=F.col("extra"),
            is_wanted=F.col(_key(FILTER)) if mapping.filter else None,
        )

    def advice(self, reason: str, values: Dict[str, str | None]) -> str:
        """What to write into the mapping where records are rejected for a reason; `values` are the fields concerned."""
        kind, quantity = values.get(KIND), self._name_of("quantity")
        if reason == "negative_quantity":
            field = next((name for name, value in values.items() if (value or "").startswith("-")), "quantity")
            rule = f"case when {_backticked(self._name_of(field))} < 0 then 'refund' else 'purchase' end"
            return f'if such a line is a return, write `kind: "{rule}"`'
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
                "name fields.visitor_id too if the log has a device or cookie; the log without orders of guests is ingested "
                "after --set ingest.max_rejected_share=SHARE"
            )
        if reason == "missing_item" and quantity:
            return "a line without an item needs an amount"
        return ""

    def _name_of(self, field: str) -> str:
        recipe = self.mapping.fields.get(field, ())
        return (self.mapping.columns_of(recipe) or ("",))[0]

    def _expressions(self, spark: SparkSession) -> dict[str, Expression]:
        """The mapping's expressions by place, checked once."""
        mapping = self.mapping
        for place, text in mapping.expressions.items():
            if place not in self._parsed:
                expression = parsed(spark, f"mapping {self.name.partition(':')[2]}, {place}", text)
                unknown = [path for path in expression.columns if mapping.format == "csv" and path not in mapping.names]
                if unknown:
                    raise SettingsError(
                        f"{expression.place}: {unknown[0]} is no column of the log: it has {', '.join(mapping.names)}; a name "
                        "with blanks or signs stands in `backticks`"
                    )
                self._check_raw_ids(expression, place)
                self._parsed[place] = expression
        return self._parsed

    def _check_raw_ids(self, expression: Expression, place: str) -> None:
        who = self.mapping.fields.get("customer_id", ())
        if place in ("fields.customer_id", "fields.visitor_id", "kind", "fields.kind", FILTER):
            return
        same = [path for path in expression.columns if path in who]
        if same:
            raise SettingsError(
                f"{expression.place} reads the customer's own column {same[0]}: raw ids stay in bronze, leave it out"
            )
        addresses = [path for path in expression.columns if ADDRESS.search(path)]
        if addresses:
            raise SettingsError(
                f"{expression.place} reads an address: addresses stay in bronze, leave {addresses[0]} out"
            )

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
            return with_cells(raw, columns[:usual], further=columns[usual:], separator=self.mapping.separator)
        objects = raw.withColumn("objects", json_objects(columns))
        known = (*columns, *self.mapping.ignored)
        one = F.when(F.size("objects") == 1, F.col("objects")[0])
        return objects.withColumns({"cells": placed_cells(one, columns), "extra": unknown_members(known)})

    def _value(self, place: str, recipe: Recipe) -> Column:
        """The text of a field or an attribute."""
        name = place.partition(".")[2] if place.startswith("fields.") else ""
        columns = self.mapping.columns_of(recipe)
        if not columns:
            return F.col(_key(place))
        value = F.coalesce(*(self._written(column, of_number=name in NUMBER_FIELDS) for column in columns))
        return id_text(value) if name in ID_FIELDS and self.mapping.ids == "normalised" else value

    def _kind(self, word: Column) -> Column:
        """The kind by the log's word, whatever its case."""
        said = F.lower(id_text(word))
        kind = said
        for theirs, ours in self.mapping.kinds.items():
            kind = F.when(said == theirs.strip().lower(), ours).otherwise(kind)
        return kind

    def _is_number(self, path: str, expressions: Dict[str, Expression]) -> bool:
        """Whether a column that expressions read is a number."""
        mapped = [self.mapping.fields.get(name, ()) for name in NUMBER_FIELDS]
        counted = any(path in each.numbers for each in expressions.values())
        return counted or any(path in recipe for recipe in mapped)

    def _written(self, column: str, *, of_number: bool) -> Column:
        """A column's text as it is written, but for words that mean nothing and the ways to write a number."""
        mapping = self.mapping
        written = mapping.formats.get(column, Format())
        words = mapping.null_words if written.null_words is None else written.null_words
        text = without_null_words(self._cell(column), words)
        declares = written.decimal or written.thousands
        if not of_number and not declares:
            return text
        decimal, thousands = (written if declares else mapping).decimal, (written if declares else mapping).thousands
        return number_text(text, decimal=decimal, thousands=thousands, is_sure=mapping.format != "csv")

    def _cell(self, column: str) -> Column:
        columns = self._columns(self._parsed)
        own = F.col("cells")[cell_name(columns.index(column))]
        name, _, path = column.partition(".")
        if self.mapping.format == "csv" or not path:
            return own
        # A member may be called user.id, too.
        return F.coalesce(F.get_json_object(F.col("cells")[cell_name(columns.index(name))], f"$.{path}"), own)


def _backticked(column: str) -> str:
    return column if re.fullmatch(r"[A-Za-z_]\w*", column) else f"`{column}`"


def _key(place: str) -> str:
    return "_sql_" + re.sub(r"\W", "_", place)
