"""The lines of text files, whatever they are written in."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.sources.encodings import BOM, BYTE_ORDERS, java_name
from clm_spark.sources.paths import decoded, literal

UNREADABLE = "\ufffd"  # what Java makes of bytes that are no letter
NOT_UTF_8 = "FF"  # a byte, in hexadecimal, that UTF-8 never has
LARGEST_WHOLE = 1 << 28  # bytes of a file that is read as one text


def text_file_lines(spark: SparkSession, files: Sequence[str], encoding: str) -> DataFrame:
    """One row per line: `value` and `_metadata`.

    A line with bytes that are no letters of its encoding is not valid UTF-8; all that could be read of it is there.
    """
    if encoding == "utf-8":
        lines = spark.read.text([*map(literal, files)]).select("value", "_metadata")
    elif encoding in BYTE_ORDERS.values():
        lines = _marked(_utf_16_lines(spark, files, encoding))
    else:
        lines = _marked(_letters(spark.read.text([*map(literal, files)]), encoding))
    without_mark = F.when(F.startswith("value", F.lit(BOM)), F.substr("value", F.lit(2))).otherwise(F.col("value"))
    return lines.withColumn("value", without_mark)


def _letters(rows: DataFrame, encoding: str) -> DataFrame:
    """The bytes of `value` as text, and `is_lossy`: whether some are no letters, for U+FFFD may truly stand there."""
    name, content = java_name(encoding), F.col("value").cast("binary")
    letters = F.decode(content, name)
    is_lossy = F.contains(letters, F.lit(UNREADABLE)) & (F.encode(letters, name) != content)
    return rows.select(letters.alias("value"), "_metadata", is_lossy.alias("is_lossy"))


def _marked(lines: DataFrame) -> DataFrame:
    no_letter = F.unhex(F.lit(NOT_UTF_8)).cast("string")
    marked = F.when(F.col("is_lossy"), F.replace("value", F.lit(UNREADABLE), no_letter)).otherwise(F.col("value"))
    return lines.select(marked.alias("value"), "_metadata")


def _utf_16_lines(spark: SparkSession, files: Sequence[str], encoding: str) -> DataFrame:
    """Lines without a carriage return, and `is_lossy`."""
    whole = _cut_inside_letters(spark, files, encoding)
    parts = []
    if rest := [file for file in files if file not in whole]:
        parts.append(_letters(_cut_at_line_ends(spark, rest, encoding), encoding))
    if whole:
        texts = _letters(spark.read.text([*map(literal, whole)], wholetext=True), encoding)
        parts.append(texts.withColumn("value", F.explode(F.split("value", "\n"))))
    return reduce(DataFrame.union, parts).withColumn("value", F.rtrim("value", F.lit("\r")))


def _cut_at_line_ends(spark: SparkSession, files: Sequence[str], encoding: str) -> DataFrame:
    return spark.read.option("encoding", encoding).option("lineSep", "\n").text([*map(literal, files)])


def _cut_inside_letters(spark: SparkSession, files: Sequence[str], encoding: str) -> list[str]:
    """Files in which the two bytes of a line end are somewhere the second of one letter and the first of the next.

    Spark cuts there, which leaves two pieces of odd length. Such letters meet so rarely that these files may be read whole.
    """
    odd = _cut_at_line_ends(spark, files, encoding).where(F.octet_length("value") % 2 == 1)
    counted = odd.groupBy("_metadata.file_path", "_metadata.file_size").agg(F.count("*").alias("num_odd"))
    found = counted.where((F.col("num_odd") > 1) & (F.col("file_size") <= LARGEST_WHOLE))
    return sorted(file for (file,) in found.select(decoded(F.col("file_path"))).collect())
