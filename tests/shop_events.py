"""Canonical events for tests, from the few fields a case is about."""

from datetime import UTC, date, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from clm_spark.events.clocks import available_on
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES
from clm_spark.tables.lake import Lake


def at(day: str, clock: str = "12:00") -> datetime:
    """A UTC time: `at("2024-02-28", "09:30")`."""
    return datetime.fromisoformat(f"{day}T{clock}:00").replace(tzinfo=UTC)


def on(day: str) -> date:
    return date.fromisoformat(day)


def events(spark: SparkSession, *cases: dict[str, Any]) -> DataFrame:
    """Rows of silver.events: `event_id` counts up and `known_at` is `occurred_at` by default."""
    return spark.createDataFrame([_row(number, case) for number, case in enumerate(cases)], EVENTS.schema)


def vocabulary(log: DataFrame, as_of: date) -> DataFrame:
    """Rows of gold.item_vocabulary: every item known by then, in the order in which they became known, ties by item_id."""
    dated = log.where(F.col("item_id").isNotNull()).withColumn("known_on", available_on())
    of_items = (
        dated.where(F.col("known_on") < F.lit(as_of))
        .groupBy("item_id")
        .agg(
            F.min("known_on").alias("known_on"),
            F.count("*").alias("num_events"),
            F.max_by("category", F.struct("occurred_at", "event_id")).alias("category"),
        )
    )
    index = F.row_number().over(Window.orderBy("known_on", "item_id")).alias("item_index")
    return of_items.select("item_id", F.lit(as_of).alias("as_of"), index, "num_events", "category")


def signed_batches(spark: SparkSession, *cases: dict[str, Any]) -> DataFrame:
    """Rows of bronze.ingested_batches: one event in each by default."""
    usual = {"source": "test", "num_files": 1, "num_kept": 1, "num_rejected": 0, "num_duplicates": 0}
    usual |= {"events_version": 1, "job": "ingest_events", "as_of": on("2024-03-01")}
    filled = [{**usual, "num_read": case.get("num_kept", 1), **case} for case in cases]
    assert not [name for row in filled for name in row if name not in INGESTED_BATCHES.schema.names]
    rows = [tuple(row.get(name) for name in INGESTED_BATCHES.schema.names) for row in filled]
    return spark.createDataFrame(rows, INGESTED_BATCHES.schema)


def sign(lake: Lake, batch: str, rows: DataFrame) -> None:
    """Events of a batch, and its line of the ledger, as ingestion leaves them."""
    version = lake.replace(rows, into=EVENTS, batch_id=batch).version
    available_at = F.greatest("occurred_at", "known_at")
    span = rows.agg(F.min(available_at).alias("first_known_at"), F.max(available_at).alias("last_known_at")).first()
    proof = signed_batches(lake.spark, {"batch_id": batch, "events_version": version, **span.asDict()})
    lake.replace(proof, into=INGESTED_BATCHES, batch_id=batch)


def _row(number: int, case: dict[str, Any]) -> tuple[Any, ...]:
    filled = {"event_id": f"e{number:04d}", "kind": "view", "source": "test", "batch_id": "b1", **case}
    filled.setdefault("known_at", filled["occurred_at"])
    unknown = set(filled) - set(EVENTS.schema.names)
    assert not unknown, unknown
    return tuple(filled.get(name) for name in EVENTS.schema.names)
