"""gold.model_metrics and gold.score_deciles: a figure belongs to a version, so that a model's versions stand side by side."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.migrations.step import Step

UNRECORDED = "unrecorded"


def with_election(metrics: DataFrame) -> DataFrame:
    """Who was in use was not recorded, nor what was compared: nothing is compared with these figures."""
    return metrics.withColumns(
        {"is_incumbent": F.lit(False), "is_champion": F.lit(False), "comparison": F.lit(UNRECORDED)}
    )


def with_version(deciles: DataFrame) -> DataFrame:
    """Deciles did not say of which version they are."""
    return deciles.withColumn("model_version", F.lit(UNRECORDED))


METRICS = Step(
    "2026-11-metrics-by-version",
    table="gold.model_metrics",
    change=with_election,
    old_key=("task", "model", "metric", "as_of"),
)
DECILES = Step(
    "2026-11-deciles-by-version",
    table="gold.score_deciles",
    change=with_version,
    old_key=("score", "model", "as_of", "decile"),
)
