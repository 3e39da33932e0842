"""gold.item_recommendations: of a customer's several lists, the one that was served stays."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.tables.migrations.step import Step

SERVED_FIRST = ("transformer", "als", "popularity")


def change(lists: DataFrame) -> DataFrame:
    """Of each customer and as_of the list of the first of these recommenders that made one: models know not everybody."""
    place = F.array_position(F.array(*map(F.lit, SERVED_FIRST)), F.col("recommender"))
    of_customer = Window.partitionBy("customer_id", "as_of")
    placed = lists.withColumn("place", place).withColumn("served", F.min("place").over(of_customer))
    return placed.where("place = served").drop("place", "served").withColumnRenamed("recommender", "source")


STEP = Step("2026-11-lists-as-served", table="gold.item_recommendations", change=change, drops=("recommender",))
