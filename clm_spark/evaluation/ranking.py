"""How well ranked lists foretell what customers went on to take."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def ranking_metrics(ranked: DataFrame, truth: DataFrame, *, recall_at: int = 20, ndcg_at: int = 10) -> DataFrame:
    """One row per model and metric: means over the customers of `truth`, who count as 0 where a model lists nothing.

    `ranked` has model, customer_id, rank (1: first) and item_id; `truth` customer_id and item_id, once per pair.
    Recall@k is hits over all items taken. NDCG@k has gain 1 per hit, discount 1 / log2(rank + 1), and is divided by
    the best list of k (Järvelin and Kekäläinen 2002).
    """
    taken = truth.groupBy("customer_id").agg(F.count("*").alias("num_taken"))
    hits = ranked.join(truth, on=["customer_id", "item_id"], how="left_semi").groupBy("model", "customer_id").agg(
        F.count_if(F.col("rank") <= recall_at).alias("num_hits"),
        F.sum(F.when(F.col("rank") <= ndcg_at, 1 / F.log2(F.col("rank") + 1)).otherwise(0.0)).alias("gain"),
    )  # fmt: skip
    best = F.aggregate(
        F.sequence(F.lit(1), F.least(F.col("num_taken"), F.lit(ndcg_at))),
        F.lit(0.0),
        lambda total, rank: total + 1 / F.log2(rank + 1),
    )
    per_customer = hits.join(taken, on="customer_id", how="inner")
    summed = per_customer.groupBy("model").agg(
        F.sum(F.col("num_hits") / F.col("num_taken")).alias("recall"), F.sum(F.col("gain") / best).alias("ndcg")
    )
    models = ranked.select("model").distinct().crossJoin(taken.agg(F.count("*").alias("num_tested")))
    means = models.join(summed, on="model", how="left").select(
        "model",
        "num_tested",
        *(F.coalesce(F.try_divide(name, "num_tested"), F.lit(0.0)).alias(name) for name in ("recall", "ndcg")),
    )
    figures = F.array(
        F.struct(F.lit(f"recall_at_{recall_at}").alias("metric"), F.col("recall").alias("value")),
        F.struct(F.lit(f"ndcg_at_{ndcg_at}").alias("metric"), F.col("ndcg").alias("value")),
    )
    return means.select("model", "num_tested", F.inline(figures))
