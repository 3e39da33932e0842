"""gold.item_recommendations: of several recommenders' lists, the one that was served stays."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.migrations.step import Step

SERVED_FIRST = ("transformer", "als", "popularity")


def change(lists: DataFrame) -> DataFrame:
    """Of each as_of the lists of the first of these recommenders that made any."""
    place = F.array_position(F.array(*map(F.lit, SERVED_FIRST)), F.col("recommender"))
    placed = lists.withColumn("place", place)
    served = placed.groupBy("as_of").agg(F.min("place").alias("place"))
    kept = placed.join(F.broadcast(served), on=["as_of", "place"], how="left_semi")
    return kept.drop("place").withColumnRenamed("recommender", "source")


STEP = Step("2026-11-lists-as-served", table="gold.item_recommendations", change=change, drops=("recommender",))
