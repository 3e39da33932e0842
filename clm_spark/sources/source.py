"""What a raw format must offer, and the readers that formats share.

A source only renames: it reads raw records and says, as text, which part of a record is which field of the canonical
event. Types, reasons for rejection and identifiers are given afterwards, for all sources alike, in `events/parse.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.errors import SourceError
from clm_spark.sources.parquet import parquet_rows

# The fields of a canonical event as a source gives them: text, in the units of the raw log.
TEXT_FIELDS = (
    "customer_id",
    "occurred_at",
    "known_at",
    "kind",
    "item_id",
    "category",
    "brand",
    "quantity",
    "price",  # of one unit, in currency units
    "amount",  # of the line, in currency units
    "discount",  # of the line, in currency units
    "order_id",
    "campaign_id",
    "source_session_id",
)
CORRUPT = "_corrupt"


@dataclass(frozen=True)
class RawFile:
    """A file as it lies in the landing folder."""

    url: str
    size_bytes: int
    modified_at: datetime


class Source(Protocol):
    """One raw format."""

    name: str
    # How `occurred_at` and `known_at` are written: iso, epoch_s, epoch_ms, epoch_us, or a Spark datetime pattern in UTC.
    time_format: str
    file_endings: tuple[str, ...]

    def read(self, spark: SparkSession, files: Sequence[str]) -> DataFrame:
        """One row per raw record: `file`, `position`, `arrived_at`, `record` (text)."""
        ...

    def fields(self, raw: DataFrame) -> DataFrame:
        """`raw` with `TEXT_FIELDS` (text or null), `attributes` (map of text) and `is_parsable` (boolean) added."""
        ...


def list_files(spark: SparkSession, path: str, *, endings: tuple[str, ...]) -> list[RawFile]:
    """The files at a path or URL, not hidden and not empty, by name; bounded by the number of files, not of records.

    Raises `SourceError` when the path is missing or holds nothing with one of the endings.
    """
    assert spark._jvm is not None
    hadoop = spark._jvm.org.apache.hadoop.fs
    place = hadoop.Path(path)
    system = place.getFileSystem(spark._jsc.hadoopConfiguration())
    if not path or not system.exists(place):
        raise SourceError(
            f"no raw data at {path!r}: expected a file or folder of {_either(endings)}; check ingest.path"
        )
    found = []
    walk = system.listFiles(place, True)
    while walk.hasNext():
        status = walk.next()
        name = status.getPath().getName()
        if name.endswith(endings) and not name.startswith((".", "_")) and status.getLen():
            modified = datetime.fromtimestamp(status.getModificationTime() / 1000, tz=UTC)
            found.append(RawFile(status.getPath().toString(), status.getLen(), modified))
    if not found:
        raise SourceError(
            f"nothing to read at {path!r}: expected files of {_either(endings)} that are not empty; check ingest.path and ingest.source"
        )
    return sorted(found, key=lambda file: file.url)


def read_lines(spark: SparkSession, files: Sequence[str]) -> DataFrame:
    """One row per line of text files, plain or compressed."""
    lines = spark.read.text(list(files))
    return _placed(lines.select(F.col("value").alias("record"), "_metadata"))


def read_csv_lines(spark: SparkSession, files: Sequence[str], *, header: str, separator: str = ",") -> DataFrame:
    """One row per data line of CSV files that start with `header`; a record must not span lines."""
    first = spark.read.text(files[0]).head()
    came = (first["value"] if first else "").lstrip("\ufeff").strip()
    if came != header:
        raise SourceError(
            f"{files[0]} is of another format: expected its first line to be {header!r}, came {came[:200]!r}; "
            "check ingest.source"
        )
    lines = read_lines(spark, files)
    return lines.where(F.ltrim(F.lit("\ufeff"), F.rtrim("record")) != header)


def read_rows(spark: SparkSession, files: Sequence[str], *, columns: Sequence[str] = ()) -> DataFrame:
    """One row per row of Parquet files of one schema, as JSON; times are ISO in UTC.

    Raises `SourceError` when a file is no Parquet, lacks one of `columns`, or differs from the first.
    """
    return _placed(parquet_rows(spark, files, columns=columns))


def csv_record(columns: Sequence[str], *, separator: str = ",") -> Column:
    """`record`, a CSV line, as a struct of text columns; field `_corrupt` is set when the line does not fit."""
    schema = ", ".join(f"`{name}` string" for name in (*columns, CORRUPT))
    return F.from_csv("record", schema, {"sep": separator, "mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT})


def json_record(columns: Sequence[str]) -> Column:
    """`record`, a JSON object, as a struct of text columns; field `_corrupt` is set when it is not JSON."""
    schema = T.StructType([T.StructField(name, T.StringType()) for name in (*columns, CORRUPT)])
    return F.from_json("record", schema, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT})


def with_fields(
    rows: DataFrame, fields: dict[str, Column], *, is_parsable: Column, attributes: dict[str, Column] | None = None
) -> DataFrame:
    """Raw rows with the fields a source knows; the others are null."""
    unknown = set(fields) - set(TEXT_FIELDS)
    if unknown:
        raise ValueError(f"not fields of an event: {sorted(unknown)}")
    pairs = [part for name, value in (attributes or {}).items() for part in (F.lit(name), value.cast("string"))]
    extra = F.map_filter(F.create_map(*pairs), lambda _, value: value.isNotNull()) if pairs else F.lit(None)
    return rows.select(
        "file",
        "position",
        "arrived_at",
        "record",
        *(fields.get(name, F.lit(None)).cast("string").alias(name) for name in TEXT_FIELDS),
        extra.cast("map<string,string>").alias("attributes"),
        is_parsable.alias("is_parsable"),
    )


def _placed(rows: DataFrame) -> DataFrame:
    # The id rises with the place in the file and is the same on every reading of the same files and split size.
    return rows.select(
        F.col("_metadata.file_path").alias("file"),
        F.monotonically_increasing_id().alias("position"),
        F.col("_metadata.file_modification_time").alias("arrived_at"),
        "record",
    )


def _either(endings: tuple[str, ...]) -> str:
    return " or ".join(f"*{ending}" for ending in endings)
