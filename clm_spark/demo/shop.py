"""A seeded synthetic shop with known truth: a raw click log of any size, and the parameters and truth behind it."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

import pyarrow as pa
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from clm_spark.demo.catalogue import items_of
from clm_spark.demo.clicks import clicks_of
from clm_spark.demo.parameters import Shop, ShopParameters
from clm_spark.demo.people import campaigns_of, people_of, treated_by
from clm_spark.demo.records import FLAW, FLAWS, LOG_SCHEMA, RECORD_SCHEMA, records_of
from clm_spark.demo.seasons import seasons_of
from clm_spark.demo.truth import block_numbers, campaigns_truth, customers_truth, items_truth
from clm_spark.demo.visits import visits_of
from clm_spark.errors import SettingsError
from clm_spark.tables.catalog import EVENT_KINDS

log = logging.getLogger(__name__)

Format = Literal["csv", "jsonl", "parquet"]
SPARK_FORMATS = {"csv": "csv", "jsonl": "json", "parquet": "parquet"}
ISO_TIME = "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"
ROWS_A_BATCH = 10_000  # what passes from Python to Spark at a time


@dataclass(frozen=True)
class WrittenShop:
    """What `write_shop` wrote: a raw log, truth tables in Parquet and the parameters."""

    path: str
    num_events: int
    num_records: int  # events, duplicates and broken copies
    records: dict[str, int]  # events by kind, then `duplicate`, then broken records by the reason to reject them
    num_files: int
    log_bytes: int
    seconds: float


def shop_records(spark: SparkSession, shop: Shop, *, num_parts: int) -> DataFrame:
    """One row per record of the raw log, and in `flaw` what is wrong with it, null for nothing.

    Rows depend on the shop alone, not on `num_parts` or the cores: each block of customers has its own random streams.
    """
    blocks = spark.range(0, shop.num_blocks, 1, min(num_parts, shop.num_blocks))

    def drawn(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items, campaigns, seasons = items_of(shop), campaigns_of(shop), seasons_of(shop)
        for block in block_numbers(batches):
            people = people_of(shop, seasons, block)
            treated = treated_by(people, campaigns, shop=shop, block=block)
            visits = visits_of(people, campaigns, seasons, shop=shop, block=block)
            clicks = clicks_of(
                people, visits, treated, items=items, campaigns=campaigns, seasons=seasons, shop=shop, block=block
            )
            records = records_of(clicks, people, visits, items=items, campaigns=campaigns, shop=shop, block=block)
            for start in range(0, records.num_rows, ROWS_A_BATCH):
                yield records.slice(start, ROWS_A_BATCH)

    return blocks.mapInArrow(drawn, RECORD_SCHEMA)


def write_shop(
    spark: SparkSession,
    *,
    customers: int,
    days: int,
    start_on: date,
    seed: int,
    out: str,
    log_format: Format = "csv",
    parameters: ShopParameters | None = None,
    num_files: int = 16,
) -> WrittenShop:
    """Draw a shop and write it to the folder or URL `out`, which must be new or empty.

    `out/log` holds the raw records in `num_files` files, to be read by the mapping `conf/sources/demo_shop.yml`;
    `out/truth` the tables customers, items, campaigns and records in Parquet; `out/parameters.json`, written last,
    what all of it was drawn from. Raises `SettingsError` for an unknown format or a folder in use.
    """
    if log_format not in SPARK_FORMATS:
        raise SettingsError(f"unknown format {log_format!r}: expected one of {', '.join(SPARK_FORMATS)}")
    shop = Shop(customers=customers, days=days, start_on=start_on, seed=seed, parameters=parameters or ShopParameters())
    place = _Folder(spark, out)
    if place.list(""):
        raise SettingsError(f"{out} is not empty: expected a new folder for the shop; remove it or name another")
    start = time.monotonic()
    records = _write_log(shop_records(spark, shop, num_parts=num_files), f"{out}/log", log_format)
    customers_truth(spark, shop, num_parts=num_files).write.parquet(f"{out}/truth/customers")
    items_truth(spark, shop).write.parquet(f"{out}/truth/items")
    campaigns_truth(spark, shop).write.parquet(f"{out}/truth/campaigns")
    counts = spark.createDataFrame(list(records.items()), "record string, num_records bigint")
    counts.coalesce(1).write.parquet(f"{out}/truth/records")
    place.write("parameters.json", shop.model_dump_json(indent=2))
    files = [size for name, size in place.list("log") if name.startswith("part-")]
    written = WrittenShop(
        path=out,
        num_events=sum(records[kind] for kind in EVENT_KINDS),
        num_records=sum(records.values()),
        records=records,
        num_files=len(files),
        log_bytes=sum(files),
        seconds=time.monotonic() - start,
    )
    log.info(
        "%s: %s records of %s customers, %.1f s", out, f"{written.num_records:,}", f"{customers:,}", written.seconds
    )
    return written


def _write_log(records: DataFrame, path: str, log_format: Format) -> dict[str, int]:
    """Write the raw log; gives the number of records of each sort, counted on the way."""
    seen = Observation("records")
    is_good = F.col(FLAW).isNull()
    counted = records.observe(
        seen,
        *(F.count_if(is_good & (F.col("kind") == kind)).alias(kind) for kind in EVENT_KINDS),
        *(F.count_if(F.col(FLAW) == flaw).alias(flaw) for flaw in FLAWS),
    )
    writer = counted.select(LOG_SCHEMA.names).write.format(SPARK_FORMATS[log_format])
    if log_format != "parquet":
        writer = writer.option("timestampFormat", ISO_TIME)
    if log_format == "csv":
        writer = writer.option("header", True)
    writer.save(path)
    return {name: int(number) for name, number in seen.get.items()}


class _Folder:
    """A folder on whatever file system its URL names."""

    def __init__(self, spark: SparkSession, url: str) -> None:
        assert spark._jvm is not None
        self._path = spark._jvm.org.apache.hadoop.fs.Path
        self._url = url
        self._system = self._path(url).getFileSystem(spark._jsc.hadoopConfiguration())

    def list(self, name: str) -> list[tuple[str, int]]:
        """Name and size of what lies in a folder below; none where it is missing."""
        place = self._path(f"{self._url}/{name}")
        if not self._system.exists(place):
            return []
        return [(status.getPath().getName(), int(status.getLen())) for status in self._system.listStatus(place)]

    def write(self, name: str, text: str) -> None:
        """Write a small text file."""
        stream = self._system.create(self._path(f"{self._url}/{name}"), True)
        try:
            stream.write(bytearray(text.encode()))
        finally:
            stream.close()
