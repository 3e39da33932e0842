"""gold.item_recommendations: a customer has a list per surface; those of before were for the home page."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.migrations.step import Step


def change(lists: DataFrame) -> DataFrame:
    """Say where they were shown."""
    return lists.withColumn("surface", F.lit("home"))


STEP = Step(
    "2026-11-lists-by-surface",
    table="gold.item_recommendations",
    change=change,
    old_key=("customer_id", "as_of", "rank"),
)
