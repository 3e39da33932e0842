"""How well ranked lists predict what customers went on to take."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.evaluation.sums import exact_mean

SHORT, LONG = 10, 20


def ranking_metrics(*, short: int = SHORT, long: int = LONG) -> tuple[str, ...]:
    """The columns of `customer_ranking`."""
    both = tuple(f"{name}_at_{k}" for name in ("recall", "ndcg") for k in (short, long))
    return (*both, f"precision_at_{short}", f"hit_rate_at_{short}", f"mrr_at_{long}")


def customer_ranking(
    ranked: DataFrame,
    truth: DataFrame,
    *,
    models: Sequence[str],
    short: int = SHORT,
    long: int = LONG,
    is_ideal_cut: bool = True,
    within: Sequence[str] = (),
) -> DataFrame:
    """One row per model of `models` and customer of `truth`, with the columns of `ranking_metrics`.

    With `within`, columns of `truth`, one row for each of their values beside: of a customer's items in that group alone.

    All are 0 where a model lists nothing for a customer, or for nobody at all: it takes part all the same.

    `ranked` has model, customer_id, rank (1: first) and item_id; `truth` customer_id and item_id, once per pair. Hits
    are listed items that were taken. Recall@k is hits over all items taken, precision@k hits over k, the hit rate 1 where
    there is any. NDCG@k has gain 1 per hit, discount 1 / log2(rank + 1), and is divided by the best list of k (Järvelin
    and Kekäläinen 2002); without `is_ideal_cut` by the best list of all taken, as "A Next Basket Recommendation Reality
    Check" has it (Li, Jullien, Ariannezhad and de Rijke 2023). MRR@k is 1 over the first hit's rank.
    """
    customer = [*within, "customer_id"]
    taken = truth.groupBy(*customer).agg(F.count("*").alias("num_taken"))
    hits = (
        ranked.where(F.col("rank") <= max(short, long))
        .join(truth.select(*customer, "item_id"), on=["customer_id", "item_id"], how="inner")
        .groupBy("model", *customer)
        # In the order of the list, so that the sum is the same in every run.
        .agg(F.array_sort(F.collect_list("rank")).alias("hit_ranks"))
    )
    named = truth.sparkSession.createDataFrame([(model,) for model in models], "model string")
    asked = F.broadcast(named).crossJoin(taken).join(hits, on=["model", *customer], how="left")
    ranks = F.coalesce("hit_ranks", F.array().cast("array<int>"))

    def up_to(k: int) -> Column:
        return F.filter(ranks, lambda rank: rank <= k)

    def recall(k: int) -> Column:
        return F.size(up_to(k)) / F.col("num_taken")

    def ndcg(k: int) -> Column:
        longest = F.least(F.col("num_taken"), F.lit(k)) if is_ideal_cut else F.col("num_taken")
        return _gain(up_to(k)) / _gain(F.sequence(F.lit(1).cast("bigint"), longest.cast("bigint")))

    first = F.element_at(up_to(long), 1)
    columns = [
        *(figure(k) for figure in (recall, ndcg) for k in (short, long)),
        F.size(up_to(short)) / F.lit(short),
        (F.size(up_to(short)) > 0).cast("double"),
        F.when(F.size(up_to(long)) > 0, 1 / first).otherwise(0.0),
    ]
    names = ranking_metrics(short=short, long=long)
    return asked.select("model", *customer, *(column.alias(name) for column, name in zip(columns, names, strict=True)))


def mean_figures(per_customer: DataFrame, *, within: Sequence[str] = ()) -> DataFrame:
    """One row per model and metric, and value of `within`, with `value`, `error` and `num_tested`.

    From one per model and customer. `error` is the standard error of the mean; null of a single customer. Customers who have
    no figure do not count, and neither does a metric that nobody has.
    """
    group = ["model", *within]
    metrics = [name for name in per_customer.columns if name not in (*group, "customer_id")]
    means = per_customer.groupBy(*group).agg(
        *(F.count(name).alias(f"{name}_tested") for name in metrics),
        *(exact_mean(F.col(name)).alias(name) for name in metrics),
        *((F.stddev_samp(name) / F.sqrt(F.count(name))).alias(f"{name}_error") for name in metrics),
    )
    figures = (
        F.struct(
            F.lit(name).alias("metric"),
            F.col(name).alias("value"),
            F.col(f"{name}_error").alias("error"),
            F.col(f"{name}_tested").alias("num_tested"),
        )
        for name in metrics
    )
    return means.select(*group, F.inline(F.array(*figures))).where(F.col("value").isNotNull())


def _gain(ranks: Column) -> Column:
    return F.aggregate(ranks, F.lit(0.0), lambda total, rank: total + 1 / F.log2(rank + 1))
