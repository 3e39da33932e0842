"""The items of a category by predicted purchases, for each segment and for all customers.

Recent purchases count more. A segment's own are few for most items: they are shrunk towards what all customers buy.
"""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.evaluation.sums import EXACT, exact_sum
from clm_spark.features.versions import KEY, of_persons, seen_days
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.settings import RankingSettings
from clm_spark.tables.catalog import CATEGORY_RANKINGS, CUSTOMER_ITEM_DAYS

UNIT = 10_000  # weights are whole ten-thousandths: their sums do not depend on the order of the rows


def with_segment(customers: DataFrame, segments: DataFrame | None) -> DataFrame:
    """Add `segment` from rows of gold.segments as of the same day; null where there is none."""
    if segments is None:
        return customers.withColumn("segment", F.lit(None).cast("int"))
    return customers.join(segments.select(KEY, "segment"), on=KEY, how="left")


def purchases_by_segment(
    customer_item_days: DataFrame,
    customers: DataFrame,
    vocabulary: DataFrame,
    persons: DataFrame | None = None,
    *,
    as_of: date,
    settings: RankingSettings,
) -> DataFrame:
    """One row per item bought and segment, null for customers in none: `num_purchases`, `weight`, and its `category`.

    Needs every version of gold.customer_item_days, `vocabulary` as of `as_of`, and `customers` with `segment`. A purchase
    is a customer's day with the item. Its weight halves every `half_life_days`; `weight` is their sum, in units of
    `UNIT`, and `squared_weight` that of their squares.
    """
    since = F.lit(as_of - timedelta(days=settings.window_days))
    recent = customer_item_days.where((F.col(KEY) != GUEST) & (F.col("day_on") >= since))
    seen = of_persons(seen_days(recent, [as_of], CUSTOMER_ITEM_DAYS), persons, CUSTOMER_ITEM_DAYS)
    bought = seen.where(F.col("num_lines") > 0).select(KEY, "item_id", "age_days")
    named = bought.join(F.broadcast(vocabulary.select("item_id", "category")), on="item_id", how="inner")
    placed = named.join(customers.select(KEY, "segment"), on=KEY, how="inner")
    weight = F.round(UNIT * F.pow(F.lit(0.5), F.col("age_days") / settings.half_life_days)).cast("bigint")
    return placed.groupBy("item_id", "category", "segment").agg(
        F.count("*").alias("num_purchases"),
        F.sum(weight).alias("weight"),
        F.sum(weight * weight).alias("squared_weight"),
    )


def exposure_by_segment(customers: DataFrame, *, settings: RankingSettings) -> DataFrame:
    """One row per segment, null for customers in none: `exposure`, the days of its customers, weighted as purchases are.

    `customers` has `segment` and `tenure_days`: who came yesterday had a day to buy, not a year. A decimal, so that those of
    the segments add up to that of all customers to the digit.
    """
    days = F.least("tenure_days", F.lit(settings.window_days))
    fade = 0.5 ** (1 / settings.half_life_days)
    # The weights of days 1 to n: a geometric series.
    weighted = fade * (1 - F.pow(F.lit(fade), days)) / (1 - fade)
    return customers.groupBy("segment").agg(F.sum(weighted.cast(EXACT)).alias("exposure"))


def category_rankings(
    purchases: DataFrame, exposure: DataFrame, *, as_of: date, horizon_days: int, settings: RankingSettings
) -> DataFrame:
    """One row per category, segment and rank, as gold.category_rankings declares: the `top_k` items bought.

    Needs rows of `purchases_by_segment` and `exposure_by_segment`. `expected_purchases` are of `horizon_days`.
    """
    of_all = _of_all_customers(purchases, exposure)
    cells = _cells(purchases, of_all, exposure.where(F.col("segment").isNotNull()))
    rated = _with_affinity(cells, prior_purchases=settings.prior_purchases).unionByName(of_all)
    per_day = F.col("expected") * F.col("affinity") / F.col("exposure").cast("double")
    predicted = rated.withColumn("expected_purchases", per_day * horizon_days)
    best_first = Window.partitionBy("category", "segment").orderBy(
        F.desc("expected_purchases"), F.desc("weight_of_all"), "item_id"
    )
    ranked = predicted.withColumn("rank", F.row_number().over(best_first)).where(F.col("rank") <= settings.top_k)
    return ranked.withColumn("as_of", F.lit(as_of)).select(CATEGORY_RANKINGS.schema.names)


def _of_all_customers(purchases: DataFrame, exposure: DataFrame) -> DataFrame:
    """One row per item: of all customers is expected what they bought."""
    days = exposure.agg(F.sum("exposure").alias("exposure"))
    summed = purchases.groupBy("item_id", "category").agg(
        F.sum("num_purchases").alias("num_purchases"), (F.sum("weight") / UNIT).alias("weight_of_all")
    )
    return summed.crossJoin(F.broadcast(days)).withColumns(
        {"segment": F.lit(None).cast("int"), "expected": F.col("weight_of_all"), "affinity": F.lit(1.0)}
    )


def _cells(purchases: DataFrame, of_all: DataFrame, segments: DataFrame) -> DataFrame:
    """One row per item and segment, whether it bought the item or not: what it bought, and what was to be expected.

    Expected is the item's part of the category's purchases, times those of the segment in the category.
    """
    items = of_all.select("item_id", "category", "weight_of_all")
    own = purchases.select("item_id", "segment", "num_purchases", "weight", "squared_weight")
    every = items.crossJoin(F.broadcast(segments)).join(own, on=["item_id", "segment"], how="left")
    counted = every.fillna(0, subset=["num_purchases", "weight", "squared_weight"])
    of_item, of_category, of_both = (_sum_over(*by) for by in (("item_id",), ("category",), ("category", "segment")))
    expected = F.coalesce(F.try_divide(of_item * of_both, of_category), F.lit(0.0))
    return counted.withColumn("expected", expected / UNIT).withColumn("weight", F.col("weight") / UNIT)


def _sum_over(*columns: str) -> Column:
    return F.sum("weight").over(Window.partitionBy(*columns)).cast("double")


def _with_affinity(cells: DataFrame, *, prior_purchases: float | None) -> DataFrame:
    """Add how much more a segment takes to an item than expected: the posterior mean of a gamma-Poisson model.

    Purchases are Poisson with mean expected x affinity, and affinities gamma with mean 1 and variance `spread`: the mean
    is (1 + spread x purchases) / (1 + spread x expected). A sum of weights varies less than a count of its size, so both
    are scaled to the count that varies as much.
    """
    per_weight = F.try_divide(exact_sum(F.col("weight")) * UNIT**2, F.sum("squared_weight"))
    spread = _spread(per_weight) if prior_purchases is None else F.lit(1 / prior_purchases)
    prior = cells.agg(F.coalesce(spread * per_weight, F.lit(0.0)).alias("prior"))
    beside = cells.crossJoin(F.broadcast(prior))
    affinity = (1 + F.col("prior") * F.col("weight")) / (1 + F.col("prior") * F.col("expected"))
    return beside.withColumn("affinity", affinity).drop("weight", "squared_weight", "prior")


def _spread(per_weight: Column) -> Column:
    """The variance of affinities by moments (DerSimonian and Laird 1986); 0 where segments differ no more than by chance.

    That is what chi-square, of segments by items within each category, has beyond its degrees of freedom.
    """
    gap = F.col("weight") - F.col("expected")
    chi_square = per_weight * exact_sum(F.try_divide(gap * gap, F.col("expected")))
    num_categories = F.count_distinct(F.coalesce("category", F.lit("")))
    degrees = (F.count_distinct("segment") - 1) * (F.count_distinct("item_id") - num_categories)
    beyond = F.try_divide(chi_square - degrees, per_weight * exact_sum(F.col("expected")))
    return F.greatest(F.coalesce(beyond, F.lit(0.0)), F.lit(0.0))
