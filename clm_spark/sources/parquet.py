"""Parquet files as raw records, whatever unit their times are in."""

from collections.abc import Iterator, Sequence
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SourceError

MICROSECONDS = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


def parquet_rows(spark: SparkSession, files: Sequence[str], *, columns: Sequence[str] = ()) -> DataFrame:
    """One row per row of Parquet files that all have the same columns: `record` (JSON), `_metadata` and `row`, from 1.

    Times become ISO text in UTC, to the microsecond. Raises `SourceError` when a file is no Parquet, lacks one of
    `columns`, or differs from the first.
    """
    nanoseconds = _checked_columns(spark, files, expected=columns)
    rows = spark.read.parquet(*files)
    cells = [_time_from_nanoseconds(name) if name in nanoseconds else _quoted(name) for name in rows.columns]
    row = (F.col("_metadata.row_index") + 1).alias("row")
    return rows.select(F.to_json(F.struct(*cells), MICROSECONDS).alias("record"), "_metadata", row)


def _checked_columns(spark: SparkSession, files: Sequence[str], *, expected: Sequence[str]) -> set[str]:
    """Hold every file to the first one's columns; give those whose times are in nanoseconds."""
    first: dict[str, str] = {}
    for file in files:
        types = dict(_footer(spark, file))
        first = first or types
        missing = sorted(set(expected) - set(types))
        if missing:
            raise SourceError(
                f"{file} is of another format: expected columns {', '.join(expected)}, {', '.join(missing)} missing, "
                f"came {', '.join(types)}; check ingest.source"
            )
        if types != first:
            differing = sorted(name for name in {*types, *first} if types.get(name) != first.get(name))
            raise SourceError(
                f"{file} differs from {files[0]} in {', '.join(differing)}: expected files of one schema; "
                "take them in one by one"
            )
    return {name for name, kind in first.items() if "(NANOS" in kind}


def _footer(spark: SparkSession, file: str) -> Iterator[tuple[str, str]]:
    """Each column and its type, as the file itself says: Spark's schema no longer tells a nanosecond from a number."""
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


def _quoted(name: str) -> Column:
    return F.col(f"`{name}`")


def _time_from_nanoseconds(name: str) -> Column:
    return F.timestamp_micros(F.call_function("div", _quoted(name), F.lit(1000))).alias(name)
