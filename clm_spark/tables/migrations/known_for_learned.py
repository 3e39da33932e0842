"""bronze.ingested_batches: first_learned_at and last_learned_at become first_known_at and last_known_at."""

from pyspark.sql import DataFrame

from clm_spark.tables.migrations.step import Step


def change(batches: DataFrame) -> DataFrame:
    """Name the times as all other tables do."""
    return batches.withColumnsRenamed({"first_learned_at": "first_known_at", "last_learned_at": "last_known_at"})


STEP = Step(
    "2026-11-known-for-learned",
    table="bronze.ingested_batches",
    change=change,
    drops=("first_learned_at", "last_learned_at"),
)
