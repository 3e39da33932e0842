"""Text files as raw records: which files belong to a format, which lines are records, which fields a line has."""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SourceError
from clm_spark.sources.paths import literal

CSV_ENDINGS = (".csv", ".csv.gz", ".csv.bz2")
CORRUPT = "_corrupt"
BOM = "\ufeff"
LONGEST_FIRST_LINE = 65_536


@dataclass(frozen=True)
class FirstLine:
    """How a file of a format begins: with one of `headers`, or without a header by a line that matches `pattern`.

    A header that differs will do where it has the columns `needed`: in another order, or with others beside them.
    """

    headers: tuple[str, ...] = ()
    pattern: str | None = None
    example: str = ""  # of a line without a header, for the message
    needed: tuple[str, ...] = ()
    separator: str = ","

    def fits(self, line: str) -> bool:
        """Whether a file that begins so is of this format; a header may be quoted."""
        return line.replace('"', "") in self.headers or bool(self.pattern and re.match(self.pattern, line))

    def __str__(self) -> str:
        wanted = [f"the header {header!r}" for header in self.headers]
        return " or ".join([*wanted, f"lines such as {self.example!r}"] if self.pattern else wanted)


def text_lines(spark: SparkSession, files: Sequence[str], *, first_line: FirstLine) -> DataFrame:
    """One row per line, plain or compressed: `record`, `header`, `_metadata`, and `is_record`, false for headers and blanks.

    `header` is null unless the file has another one than usual. A record must not span lines. Raises `SourceError` when
    a file, whichever of them, begins otherwise or lacks a column.
    """
    together: dict[str, list[str]] = {}
    for file in files:
        together.setdefault(_own_header(file, _first_line(spark, file), first_line), []).append(file)
    parts = (_lines_under(spark, header, alike, first_line) for header, alike in sorted(together.items()))
    return reduce(DataFrame.union, parts)


def with_cells(raw: DataFrame, columns: Sequence[str], *, separator: str = ",") -> DataFrame:
    """CSV lines with `cells`, a struct of the usual columns and `_corrupt`, and `extra`, a map of all other columns.

    Each line is read by the header of its own file; the driver sees the headers, not the lines.
    """
    others = raw.where(F.col("header").isNotNull()).select("header").distinct().orderBy("header").collect()
    cells = F.when(F.col("header").isNull(), csv_record(columns, separator=separator))
    extra = F.lit(None).cast("map<string,string>")
    for (header,) in others:
        names = cells_of(header.removeprefix(BOM), separator=separator)
        read = F.array(csv_record(names, separator=separator))
        is_so = F.col("header") == header
        cells = cells.when(is_so, F.transform(read, _usual_cells(columns, names))[0])
        if new := sorted(set(names) - set(columns)):
            extra = F.when(is_so, F.transform(read, _map_of(new))[0]).otherwise(extra)
    return raw.withColumns({"cells": cells, "extra": extra})


def csv_record(columns: Sequence[str], *, separator: str = ",") -> Column:
    """`record`, a CSV line, as a struct of text columns; field `_corrupt` is set when the line does not fit.

    Too few columns, too many, and an open quote do not fit; the columns that could be read are filled all the same.
    """
    schema = ", ".join(f"`{name}` string" for name in (*columns, CORRUPT))
    # A quote inside quotes is doubled (RFC 4180); Spark's own default is a backslash.
    options = {"sep": separator, "escape": '"', "mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT}
    return F.from_csv("record", schema, options)


def cells_of(line: str, *, separator: str) -> list[str]:
    """One CSV line of a header or a mapping, cut as `csv_record` cuts it."""
    return next(csv.reader([line], delimiter=separator), [])


def _own_header(file: str, came: str, first_line: FirstLine) -> str:
    """The file's header where it differs from the usual one, else nothing."""
    if first_line.fits(came):
        return ""
    usual = [name for header in first_line.headers for name in cells_of(header, separator=first_line.separator)]
    names = cells_of(came, separator=first_line.separator)
    missing = sorted(set(first_line.needed) - set(names))
    if not first_line.needed or not set(usual) & set(names):
        raise SourceError(
            f"{file} is of another format: expected {first_line}, came {came[:200]!r}; check ingest.source"
        )
    if missing or len(set(names)) < len(names):
        trouble = f"{', '.join(missing)} missing" if missing else "a column twice"
        raise SourceError(
            f"{file} has changed: expected columns {', '.join(first_line.needed)}, came {came[:200]!r}, {trouble}; restore "
            "the file, or, for source mapping, bring the mapping up to the log of today (`optional` columns may be missing)"
        )
    return came


def _lines_under(spark: SparkSession, header: str, files: Sequence[str], first_line: FirstLine) -> DataFrame:
    # A header is no record wherever it stands: people concatenate files.
    headers = (header, *first_line.headers) if header else first_line.headers
    spellings = [spelt for line in headers for spelt in (line, BOM + line, _quoted(line))]
    is_record = F.trim("value") != ""
    if spellings:
        is_record &= ~F.col("value").isin(spellings)
    own = F.lit(header or None).cast("string")
    lines = spark.read.text([*map(literal, files)])
    return lines.select(F.col("value").alias("record"), own.alias("header"), "_metadata", is_record.alias("is_record"))


def _usual_cells(columns: Sequence[str], names: Sequence[str]) -> Callable[[Column], Column]:
    """A struct of the usual columns, null where this header has no such column."""
    nothing = F.lit(None).cast("string")
    return lambda cells: F.struct(
        *((cells[name] if name in names else nothing).alias(name) for name in columns), cells[CORRUPT].alias(CORRUPT)
    )


def _map_of(names: Sequence[str]) -> Callable[[Column], Column]:
    return lambda cells: F.create_map(*(part for name in names for part in (F.lit(name), cells[name])))


def _quoted(header: str) -> str:
    separator = next((sign for sign in "\t;|," if sign in header), ",")
    return separator.join(f'"{name}"' for name in header.split(separator))


def _first_line(spark: SparkSession, file: str) -> str:
    """The first line of a file, cut when it is overlong, without a byte order mark; on the driver, file by file."""
    jvm: Any = spark._jvm
    hadoop = jvm.org.apache.hadoop
    conf = spark._jsc.hadoopConfiguration()
    path = hadoop.fs.Path(file)
    codec = hadoop.io.compress.CompressionCodecFactory(conf).getCodec(path)
    line = hadoop.io.Text()
    stream = path.getFileSystem(conf).open(path)
    try:
        unpacked = codec.createInputStream(stream) if codec else stream
        hadoop.util.LineReader(unpacked, conf).readLine(line, LONGEST_FIRST_LINE, LONGEST_FIRST_LINE)
    except Py4JJavaError as error:
        came = str(error.java_exception.getMessage())
        raise SourceError(f"{file} cannot be unpacked ({came}): restore it, or give it the right ending") from None
    finally:
        stream.close()
    return str(line.toString()).removeprefix(BOM)
