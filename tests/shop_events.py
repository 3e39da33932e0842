"""Canonical events for tests, from the few fields a case is about."""

from datetime import UTC, date, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from clm_spark.tables.catalog import EVENTS


def at(day: str, clock: str = "12:00") -> datetime:
    """A UTC time: `at("2024-02-28", "09:30")`."""
    return datetime.fromisoformat(f"{day}T{clock}:00").replace(tzinfo=UTC)


def on(day: str) -> date:
    return date.fromisoformat(day)


def events(spark: SparkSession, *cases: dict[str, Any]) -> DataFrame:
    """Rows of silver.events: `event_id` counts up and `known_at` is `occurred_at` unless a case says otherwise."""
    return spark.createDataFrame([_row(number, case) for number, case in enumerate(cases)], EVENTS.schema)


def _row(number: int, case: dict[str, Any]) -> tuple[Any, ...]:
    filled = {"event_id": f"e{number:04d}", "kind": "view", "source": "test", "batch_id": "b1", **case}
    filled.setdefault("known_at", filled["occurred_at"])
    unknown = set(filled) - set(EVENTS.schema.names)
    assert not unknown, unknown
    return tuple(filled.get(name) for name in EVENTS.schema.names)
