"""Text files as raw records: which files belong to a format, which lines are records, which fields a record has."""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SourceError
from clm_spark.sources.encodings import BOM, with_byte_order
from clm_spark.sources.first_bytes import from_first_bytes
from clm_spark.sources.lines import text_file_lines
from clm_spark.sources.spanning import left_open

CSV_ENDINGS = (".csv", ".csv.gz", ".csv.bz2")
CORRUPT = "_corrupt"
LONGEST_FIRST_LINE = 65_536  # bytes


@dataclass(frozen=True)
class FirstLine:
    """How a file of a format begins: with one of `headers`, or without a header by a line that matches `pattern`.

    A header that differs will do where it has the columns `needed`, each by one of its names: in another order, or with
    others beside them.
    """

    headers: tuple[str, ...] = ()
    pattern: str | None = None
    example: str = ""  # of a line without a header, for the message
    needed: tuple[tuple[str, ...], ...] = ()  # each by any of its names
    separator: str = ","
    encoding: str = "utf-8"
    money: tuple[tuple[str, ...], ...] = ()  # columns that say what a line is worth
    ignored: tuple[str, ...] = ()
    is_csv: bool = True  # so that a record may span lines inside quotes

    def fits(self, line: str) -> bool:
        """Whether a file that begins so is of this format; a header may be quoted."""
        return line.replace('"', "") in self.headers or bool(self.pattern and re.match(self.pattern, line))

    def __str__(self) -> str:
        wanted = [f"the header {header!r}" for header in self.headers]
        return " or ".join([*wanted, f"lines such as {self.example!r}"] if self.pattern else wanted)


def text_lines(spark: SparkSession, files: Sequence[str], *, first_line: FirstLine) -> DataFrame:
    """One row per line, plain or compressed: `record`, `header`, `_metadata`, and `is_record`, false for headers and blanks.

    `header` is null unless the file has another one than usual. `is_open` tells lines that end inside quotes, of cells cut
    by `separator`; `lines_joined` makes records of them. Raises `SourceError` when a file, whichever of them, begins
    otherwise or lacks a column.
    """
    together: dict[tuple[str, str], list[str]] = {}
    begin = partial(_first_line, encoding=first_line.encoding)
    begun = from_first_bytes(spark, files, begin, num_bytes=LONGEST_FIRST_LINE)
    for file, (line, encoding) in zip(files, begun, strict=True):
        together.setdefault((_own_header(file, line, first_line), encoding), []).append(file)
    parts = (
        _lines_under(spark, header, alike, first_line, encoding)
        for (header, encoding), alike in sorted(together.items())
    )
    return reduce(DataFrame.union, parts)


def with_cells(
    raw: DataFrame,
    columns: Sequence[str],
    *,
    further: Sequence[str] = (),
    ignored: Sequence[str] = (),
    separator: str = ",",
) -> DataFrame:
    """CSV lines with `cells`, a struct of the usual columns and `_corrupt`, and `extra`, a map of others but those `ignored`.

    The struct's fields are `cell_name(0)` and on, in the order of `columns` and then of those `further` ones that only
    other headers have: names may differ in case alone. Each line is read by the header of its own file; the driver sees
    the headers, not the lines.
    """
    wanted = [*columns, *further]
    others = raw.where(F.col("header").isNotNull()).select("header").distinct().orderBy("header").collect()
    usual = _placed_record(len(columns), separator)
    if further:
        usual = F.transform(F.array(usual), _wanted_cells(wanted, columns))[0]
    cells = F.when(F.col("header").isNull(), usual)
    extra = F.lit(None).cast("map<string,string>")
    for (header,) in others:
        names = column_names(header.removeprefix(BOM), separator=separator)
        read = F.array(_placed_record(len(names), separator))
        is_so = F.col("header") == header
        cells = cells.when(is_so, F.transform(read, _wanted_cells(wanted, names))[0])
        if new := sorted(set(names) - {*wanted, *ignored, ""}):
            extra = F.when(is_so, F.transform(read, _map_of(new, names))[0]).otherwise(extra)
    return raw.withColumns({"cells": cells, "extra": extra})


def cell_name(position: int) -> str:
    """The field of `cells` that holds the column at a position, from 0."""
    return f"_{position}"


def _placed_record(num_columns: int, separator: str) -> Column:
    """`record` by the columns' positions. One separator too many at the end of a line is no column."""
    record, cut = F.col("record"), F.lit(separator)
    # Up to the separator behind the last column: all but the end. This is read of every line, so it counts no letters.
    columns = F.substring_index(record, separator, num_columns)
    is_one_too_many = F.endswith(record, cut) & (
        F.octet_length(columns) + F.octet_length(cut) == F.octet_length(record)
    )
    names = [cell_name(position) for position in range(num_columns)]
    return csv_record(names, separator=separator, plain=F.when(is_one_too_many, columns).otherwise(record))


def csv_record(columns: Sequence[str], *, separator: str = ",", plain: Column | None = None) -> Column:
    """`record`, a CSV line, as a struct of text columns; field `_corrupt` is set when the line does not fit.

    Too few columns, too many, and an open quote do not fit; the columns that could be read are filled all the same.
    `plain` is what to read in place of a line without any quote.
    """
    schema = ", ".join(f"`{name}` string" for name in (*columns, CORRUPT))
    # A quote inside quotes is doubled (RFC 4180); Spark's own default is a backslash.
    options = {"sep": separator, "escape": '"', "mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT}
    record = F.col("record")
    # Spark would close an open quote in the last column: close it here, with too many columns behind it.
    closed = F.concat(record, F.lit('"' + separator * len(columns)))
    quoted = F.when(left_open(record, separator), closed).otherwise(record)
    text = F.when(F.contains(record, F.lit('"')), quoted).otherwise(record if plain is None else plain)
    return F.from_csv(text, schema, options)


def column_names(header: str, *, separator: str) -> list[str]:
    """The columns of a header; one that comes again is called `NAME_2`, and so on."""
    names: list[str] = []
    for cell in cells_of(header, separator=separator):
        name, number = cell.strip(), 1
        while name and name in names:
            number += 1
            name = f"{cell.strip()}_{number}"
        names.append(name)
    return names


def cells_of(line: str, *, separator: str) -> list[str]:
    """One CSV line of a header or a mapping, cut as `csv_record` cuts it."""
    return next(csv.reader([line], delimiter=separator), [])


def _own_header(file: str, came: str, first_line: FirstLine) -> str:
    """The file's header where it differs from the usual one, else nothing."""
    if first_line.fits(came):
        return ""
    usual = [name for header in first_line.headers for name in column_names(header, separator=first_line.separator)]
    names = column_names(came, separator=first_line.separator)
    if not first_line.needed or not set(usual) & set(names):
        raise SourceError(
            f"{file} is of another format: expected {first_line}, came {came[:200]!r}; {_what_it_may_be(came, first_line)}"
        )
    missing = [either for either in first_line.needed if not set(either) & set(names)]
    if missing:
        new = [name for name in names if name and name not in usual]
        old = missing[0][0]
        advice = f"; if {new[0]} is {old} by a new name, write [{old}, {new[0]}] for it in the mapping" if new else ""
        raise SourceError(
            f"{file} has changed: expected columns {_listed(first_line.needed)}, came {came[:200]!r}, {_listed(missing)} "
            "missing; restore the file, or, for source mapping, bring the mapping up to the log of today (`optional` "
            f"columns may be missing){advice}"
        )
    _check_money(
        file, names, [name for name in names if name and name not in {*usual, *first_line.ignored}], first_line
    )
    return came


def _check_money(file: str, names: Sequence[str], new: Sequence[str], first_line: FirstLine) -> None:
    """Refuse a file in which a column of money is missing, optional or not, and another one is new: it may be the same."""
    wanted = {name for either in first_line.money for name in either}
    gone = [either for either in first_line.money if not set(either) & set(names)]
    new = [name for name in new if name not in wanted]
    if gone and new:
        raise SourceError(
            f"{file} has no column {_listed(gone)}, and {new[0]} is new: if it is the same by another name, write "
            f"[{gone[0][0]}, {new[0]}] in the mapping; if it is not, name it under `ignored` or `attributes`"
        )


def _listed(columns: Sequence[tuple[str, ...]]) -> str:
    return ", ".join(" or ".join(either) for either in columns)


def _what_it_may_be(came: str, first_line: FirstLine) -> str:
    """What to look at, by the first line of a file that is not the one expected."""
    if "\x00" in came:
        return "it looks like UTF-16: set `encoding: utf-16` in the mapping"
    if "\ufffd" in came:
        return "it is not UTF-8: set `encoding` in the mapping (gbk, latin-1, windows-1252 ...)"
    others = [sign for sign in ";\t|," if sign != first_line.separator and sign in came]
    if others and first_line.separator not in came:
        return f"check ingest.source, or set `separator: {others[0]!r}` in the mapping"
    return "check ingest.source"


def _lines_under(
    spark: SparkSession, header: str, files: Sequence[str], first_line: FirstLine, encoding: str
) -> DataFrame:
    # A header is no record wherever it stands: people concatenate files.
    headers = (header, *first_line.headers) if header else first_line.headers
    spellings = [spelt for line in headers for spelt in (line, _quoted(line))]
    is_record = F.trim("value") != ""
    if spellings:
        is_record &= ~F.col("value").isin(spellings)
    separator = first_line.separator
    return text_file_lines(spark, files, encoding).select(
        F.col("value").alias("record"),
        F.lit(header or None).cast("string").alias("header"),
        "_metadata",
        is_record.alias("is_record"),
        F.lit(separator).alias("separator"),
        (left_open(F.col("value"), separator) if first_line.is_csv else F.lit(False)).alias("is_open"),
    )


def _wanted_cells(columns: Sequence[str], names: Sequence[str]) -> Callable[[Column], Column]:
    """A struct of the wanted columns, null where a header of these names has no such column."""
    nothing = F.lit(None).cast("string")
    return lambda cells: F.struct(
        *(
            (cells[cell_name(names.index(name))] if name in names else nothing).alias(cell_name(position))
            for position, name in enumerate(columns)
        ),
        cells[CORRUPT].alias(CORRUPT),
    )


def _map_of(new: Sequence[str], names: Sequence[str]) -> Callable[[Column], Column]:
    """A map of the new ones among a header's columns."""
    return lambda cells: F.create_map(
        *(part for name in new for part in (F.lit(name), cells[cell_name(names.index(name))]))
    )


def _quoted(header: str) -> str:
    separator = next((sign for sign in "\t;|," if sign in header), ",")
    return separator.join(f'"{name}"' for name in header.split(separator))


def _first_line(content: bytes, encoding: str) -> tuple[str, str]:
    """The first line of a file, by its beginning, and its encoding, of UTF-16 with the byte order.

    The line is cut when it is overlong, and has no byte order mark.
    """
    encoding = with_byte_order(encoding, content)
    text = content.decode(encoding, errors="replace").removeprefix(BOM)
    return re.split("[\r\n]", text, maxsplit=1)[0], encoding
