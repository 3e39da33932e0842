"""The recommenders that learn nothing: what everybody buys, and what the customer always buys."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def recommend_by_popularity(interactions: DataFrame, *, top_k: int, hide_seen: bool) -> DataFrame:
    """One row per customer and rank: the items with most interactions, ties to the lower item_index.

    `interactions` is one as_of of gold.interactions; `relevance` is the number of interactions.
    """
    counts = interactions.groupBy("item_index").agg(F.sum("num_events").cast("double").alias("relevance"))
    # One task sorts all items: the vocabulary is bounded.
    best_first = Window.orderBy(F.desc("relevance"), "item_index")
    ranked = F.broadcast(counts.withColumn("rank", F.row_number().over(best_first)))
    if not hide_seen:
        return _lists(interactions.select("customer_id").distinct().crossJoin(ranked.where(F.col("rank") <= top_k)))
    # As many further down as the customer has seen are enough, whichever those are.
    customers = interactions.groupBy("customer_id").agg(F.count("*").alias("num_seen"))
    candidates = customers.join(ranked, on=F.col("rank") <= F.col("num_seen") + top_k, how="inner")
    new = candidates.join(interactions, on=["customer_id", "item_index"], how="left_anti")
    per_customer = Window.partitionBy("customer_id").orderBy("rank")
    return _lists(new.withColumn("rank", F.row_number().over(per_customer)).where(F.col("rank") <= top_k))


def recommend_own_favourites(interactions: DataFrame, *, top_k: int) -> DataFrame:
    """One row per customer and rank: the customer's own strongest items, the latest first where they tie."""
    own = Window.partitionBy("customer_id").orderBy(F.desc("strength"), F.desc("last_at"), "item_index")
    ranked = interactions.withColumn("rank", F.row_number().over(own)).where(F.col("rank") <= top_k)
    return _lists(ranked.withColumn("relevance", F.col("strength")))


def _lists(ranked: DataFrame) -> DataFrame:
    return ranked.select("customer_id", "rank", "item_index", "relevance")
