"""Parquet files as raw records, whatever unit their times are in."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SourceError
from clm_spark.sources.paths import literal

LARGEST_EXACT = 2.0**53  # beyond it floats skip whole numbers
MICROSECONDS = {
    "timeZone": "UTC",  # whatever the session's: a record is the same in every shop
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


def parquet_rows(spark: SparkSession, files: Sequence[str], *, columns: Sequence[Sequence[str]] = ()) -> DataFrame:
    """One row per row of Parquet files: `record` (JSON), `_metadata` and `row`, from 1.

    Times become ISO text in UTC, to the microsecond; a whole number is written alike whether its column is of integers
    or, as pandas makes it where values are missing, of floats. So files may differ in columns and types. Raises
    `SourceError` when a file is no Parquet or lacks one of `columns`, each by any of
    its names.
    """
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for file in files:
        alike.setdefault(_checked_columns(spark, file, expected=columns), []).append(file)
    return reduce(DataFrame.union, (_rows_of(spark, together, dict(types)) for types, together in alike.items()))


def _rows_of(spark: SparkSession, files: Sequence[str], types: Mapping[str, str]) -> DataFrame:
    """Rows of files of one schema."""
    rows = spark.read.parquet(*map(literal, files))
    cells = [_cell(name, kind, is_in_nanoseconds="(NANOS" in types.get(name, "")) for name, kind in rows.dtypes]
    row = (F.col("_metadata.row_index") + 1).alias("row")
    return rows.select(F.to_json(F.struct(*cells), MICROSECONDS).alias("record"), "_metadata", row)


def _checked_columns(
    spark: SparkSession, file: str, *, expected: Sequence[Sequence[str]]
) -> tuple[tuple[str, str], ...]:
    """Each column and its type, all of the expected ones among them."""
    types = tuple(_footer(spark, file))
    missing = [names[0] for names in expected if not set(names) & {name for name, _ in types}]
    if missing:
        wanted = ", ".join(names[0] for names in expected)
        raise SourceError(
            f"{file} is of another format: expected columns {wanted}, {', '.join(missing)} missing, "
            f"came {', '.join(name for name, _ in types)}; check ingest.source"
        )
    return types


def _footer(spark: SparkSession, file: str) -> Iterator[tuple[str, str]]:
    """Each column and its type in the file: Spark's schema no longer distinguishes nanoseconds from numbers."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(file)
    conf = spark._jsc.hadoopConfiguration()
    parquet = jvm.org.apache.parquet.hadoop
    try:
        reader = parquet.ParquetFileReader.open(parquet.util.HadoopInputFile.fromPath(path, conf))
    except Py4JJavaError as error:
        came = str(error.java_exception.getMessage()).splitlines()[0]
        raise SourceError(f"{file} is not Parquet ({came}): check ingest.source and the file") from None
    try:
        for column in reader.getFileMetaData().getSchema().getFields():
            yield column.getName(), column.toString()
    finally:
        reader.close()


def _cell(name: str, kind: str, *, is_in_nanoseconds: bool) -> Column:
    cell = F.col(f"`{name}`")
    if is_in_nanoseconds:
        return F.timestamp_micros(F.call_function("div", cell, F.lit(1000))).alias(name)
    if kind in ("double", "float"):
        whole = cell.try_cast("bigint")
        is_whole = (whole == cell) & (F.abs(cell) < F.lit(LARGEST_EXACT))
        return F.when(is_whole, whole.cast("string")).otherwise(cell.cast("string")).alias(name)
    return cell.alias(name)
