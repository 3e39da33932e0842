"""gold.customer_scores: a probability becomes a value with a unit, and the row names the model that gave it."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.migrations.step import Step


def change(scores: DataFrame) -> DataFrame:
    """Boosted trees gave every score until then; none was a fallback."""
    return scores.withColumnRenamed("probability", "value").withColumns(
        {"unit": F.lit("probability"), "is_fallback": F.lit(False), "model": F.lit("gbt")}
    )


STEP = Step("2026-11-value-for-probability", table="gold.customer_scores", change=change, drops=("probability",))
