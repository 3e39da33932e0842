"""Text files as raw records: which files belong to a format, which lines are records, which fields a line holds."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SourceError

CSV_ENDINGS = (".csv", ".csv.gz", ".csv.bz2")
CORRUPT = "_corrupt"
BOM = "\ufeff"
LONGEST_FIRST_LINE = 65_536


@dataclass(frozen=True)
class FirstLine:
    """How a file of a format begins: with one of `headers`, or without a header by a line that matches `pattern`."""

    headers: tuple[str, ...] = ()
    pattern: str | None = None
    example: str = ""  # of a line without a header, for the message

    def fits(self, line: str) -> bool:
        """Whether a file that begins so is of this format; a header may be quoted."""
        return line.replace('"', "") in self.headers or bool(self.pattern and re.match(self.pattern, line))

    def __str__(self) -> str:
        wanted = [f"the header {header!r}" for header in self.headers]
        return " or ".join([*wanted, f"lines such as {self.example!r}"] if self.pattern else wanted)


def text_lines(spark: SparkSession, files: Sequence[str], *, first_line: FirstLine) -> DataFrame:
    """One row per line, plain or compressed: `record`, `_metadata`, and `is_record`, false for headers and blank lines.

    A record must not span lines. Raises `SourceError` when a file, whichever of them, begins otherwise.
    """
    for file in files:
        came = _first_line(spark, file)
        if not first_line.fits(came):
            raise SourceError(
                f"{file} is of another format: expected {first_line}, came {came[:200]!r}; check ingest.source"
            )
    lines = spark.read.text(list(files)).select(F.col("value").alias("record"), "_metadata")
    # A header is no record wherever it stands: people concatenate files.
    headers = [spelt for header in first_line.headers for spelt in (header, BOM + header, _quoted(header))]
    is_record = F.trim("record") != ""
    return lines.withColumn("is_record", is_record & ~F.col("record").isin(headers) if headers else is_record)


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
