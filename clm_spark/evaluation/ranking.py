"""How well ranked lists predict what customers went on to take."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.evaluation.sums import exact_mean


def customer_ranking(
    ranked: DataFrame, truth: DataFrame, *, models: Sequence[str], recall_at: int = 20, ndcg_at: int = 10
) -> DataFrame:
    """One row per model of `models` and customer of `truth`, with `recall_at_20` and `ndcg_at_10`.

    Both are 0 where a model lists nothing for a customer, or for nobody at all: it takes part all the same.

    `ranked` has model, customer_id, rank (1: first) and item_id; `truth` customer_id and item_id, once per pair.
    Recall@k is hits over all items taken. NDCG@k has gain 1 per hit, discount 1 / log2(rank + 1), and is divided by
    the best list of k (Järvelin and Kekäläinen 2002).
    """
    taken = truth.groupBy("customer_id").agg(F.count("*").alias("num_taken"))
    hits = ranked.join(truth, on=["customer_id", "item_id"], how="left_semi").groupBy("model", "customer_id").agg(
        F.count_if(F.col("rank") <= recall_at).alias("num_hits"),
        # In the order of the list, so that the sum is the same in every run.
        F.array_sort(F.collect_list(F.when(F.col("rank") <= ndcg_at, F.col("rank")))).alias("hit_ranks"),
    )  # fmt: skip
    named = truth.sparkSession.createDataFrame([(model,) for model in models], "model string")
    asked = F.broadcast(named).crossJoin(taken)
    best = F.sequence(F.lit(1), F.least(F.col("num_taken"), F.lit(ndcg_at)))
    return asked.join(hits, on=["model", "customer_id"], how="left").select(
        "model",
        "customer_id",
        F.coalesce(F.col("num_hits") / F.col("num_taken"), F.lit(0.0)).alias(f"recall_at_{recall_at}"),
        F.coalesce(_gain(F.col("hit_ranks")) / _gain(best), F.lit(0.0)).alias(f"ndcg_at_{ndcg_at}"),
    )


def mean_figures(per_customer: DataFrame) -> DataFrame:
    """One row per model and metric, with `value` and `num_tested`, from one per model and customer."""
    metrics = [name for name in per_customer.columns if name not in ("model", "customer_id")]
    means = per_customer.groupBy("model").agg(
        F.count("*").alias("num_tested"), *(exact_mean(F.col(name)).alias(name) for name in metrics)
    )
    pairs = F.array(*(F.struct(F.lit(name).alias("metric"), F.col(name).alias("value")) for name in metrics))
    return means.select("model", "num_tested", F.inline(pairs))


def _gain(ranks: Column) -> Column:
    return F.aggregate(ranks, F.lit(0.0), lambda total, rank: total + 1 / F.log2(rank + 1))
