"""What lists are like, whatever was bought: how much of the shop they show, how even, how new and how varied."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.evaluation.ranking import mean_figures
from clm_spark.evaluation.sums import exact_sum

LENGTH = 20


def list_metrics(*, length: int = LENGTH) -> tuple[str, ...]:
    """The metrics of `list_figures`."""
    return tuple(f"{name}_at_{length}" for name in ("coverage", "gini", "novelty", "diversity"))


def list_figures(ranked: DataFrame, items: DataFrame, *, length: int = LENGTH) -> DataFrame:
    """One row per model and metric of `list_metrics`, with `value`, `error` and `num_tested`, the customers with a list.

    `ranked` has model, customer_id, rank (1: first) and item_id; `items` the shop's items with num_bought, how often each
    was bought, and category; listed items beside them count as never bought.

    Coverage is the share of the items that stand in any list. Gini says how uneven the places are shared out among the
    items: 0 where each has as many, towards 1 where few have all. Novelty is the mean over customers and their items of
    log2(all purchases / the item's), in bits (Vargas and Castells 2011); an item never bought counts as bought once.
    Diversity is the mean over customers of the share of a list's pairs whose categories differ; a list of one item has none.

    `error` is the standard error of those two. Coverage and Gini have none: they are figures of all lists together, and
    customers drawn with replacement are fewer different ones, who cover less.
    """
    known_items = items.withColumn("is_known", F.lit(True))
    listed = ranked.where(F.col("rank") <= length).join(known_items, on="item_id", how="left")
    known = items.agg(F.count("*").alias("num_items"), F.sum("num_bought").alias("num_all")).first()
    assert known is not None
    coverage, gini, novelty, diversity = list_metrics(length=length)
    bits = F.log2(F.lit(max(1, known["num_all"] or 0)) / F.greatest(F.coalesce("num_bought", F.lit(0)), F.lit(1)))
    of_category = listed.groupBy("model", "customer_id", "category").agg(
        F.count("*").alias("n"), exact_sum(bits).alias("bits")
    )
    size = F.sum("n")
    same = F.sum(F.col("n") * (F.col("n") - 1))
    of_lists = of_category.groupBy("model", "customer_id").agg(
        (exact_sum(F.col("bits")) / size).alias(novelty),
        F.when(size > 1, 1 - same / (size * (size - 1))).alias(diversity),
    )
    of_customers = mean_figures(of_lists)

    places = listed.groupBy("model", "item_id", "is_known").agg(F.count("*").alias("places"))
    # One task sorts the items of a model: bounded by the catalogue.
    by_places = Window.partitionBy("model").orderBy("places", "item_id")
    placed = places.withColumn("_from_least", F.row_number().over(by_places))
    shown = F.count("*")
    num_items = F.lit(known["num_items"]) + F.count_if(F.col("is_known").isNull())
    # Items without a place come before all others.
    weighted = F.sum(F.col("places") * (F.col("_from_least"))) + (num_items - shown) * F.sum("places")
    unevenness = 2 * weighted / (num_items * F.sum("places")) - (num_items + 1) / num_items
    of_items = placed.groupBy("model").agg((shown / num_items).alias(coverage), unevenness.alias(gini))
    pairs = F.array(*(F.struct(F.lit(name).alias("metric"), F.col(name).alias("value")) for name in (coverage, gini)))
    num_tested = listed.groupBy("model").agg(F.count_distinct("customer_id").alias("num_tested"))
    of_all = of_items.select("model", F.inline(pairs)).join(num_tested, on="model", how="inner")
    return of_customers.unionByName(of_all.withColumn("error", F.lit(None).cast("double")))
