"""Each segment in figures and in words."""

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from clm_spark.models.segments.facts import Facts
from clm_spark.models.segments.names import names_for, portraits_of, sets_apart

# Baskets in 90 days, at least, and how one would say it.
FREQUENCIES = (
    (32, "buys several times a week"),
    (19, "buys once or twice a week"),
    (11, "buys about weekly"),
    (5, "buys about every other week"),
    (2.5, "buys about monthly"),
    (0.5, "buys rarely"),
)


NAMED = "segment int, name string, sets_apart array<string>, branch string"


def segment_profiles(assigned: DataFrame, *, facts: Facts) -> DataFrame:
    """One row per segment: its figures, `description`, the same in words, and what the version says of it.

    Needs one as_of of customers with `segment` and the features that segments are cut by. A version that gave no names
    gets those of the day.
    """
    portraits = portraits_of(assigned)
    names = facts.names or names_for(portraits)
    rows = [
        (each.segment, names.get(each.segment), sets_apart(each), facts.branches.get(each.segment))
        for each in portraits
    ]
    named = assigned.sparkSession.createDataFrame(rows, NAMED)
    return segment_figures(assigned).join(F.broadcast(named), on="segment", how="inner")


def segment_figures(assigned: DataFrame) -> DataFrame:
    """One row per segment and as_of: its figures, and `description`, the same in words."""
    everyone = Window.partitionBy("as_of")
    figures = assigned.groupBy("segment", "as_of").agg(
        F.count("*").alias("num_customers"),
        F.sum(F.greatest("net_revenue_90d_cents", F.lit(0))).alias("_revenue"),
        F.avg("purchase_recency_days").alias("mean_recency_days"),
        F.avg("num_orders_90d").alias("mean_orders_90d"),
        F.avg("net_revenue_90d_cents").alias("mean_revenue_90d_cents"),
        # Rounded: a mean of fractions depends in its last digits on the order of the rows.
        F.round(F.avg("discount_90d_share"), 9).alias("mean_discount_share"),
    )
    shared = figures.withColumns(
        {
            "customers_share": F.col("num_customers") / F.sum("num_customers").over(everyone),
            "revenue_share": F.coalesce(F.try_divide("_revenue", F.sum("_revenue").over(everyone)), F.lit(0.0)),
        }
    )
    told = shared.withColumn("description", _in_words(everyone)).drop("_revenue")
    # Segments never carry the same words twice.
    alike = Window.partitionBy("as_of", "description")
    revenue, num_alike = F.col("mean_revenue_90d_cents"), F.count("*").over(alike)
    place = F.row_number().over(alike.orderBy(revenue.desc(), F.desc("num_customers"), "segment"))
    differs = F.max(revenue).over(alike) > F.min(revenue).over(alike)
    order = F.when(differs, "spending").otherwise("number of customers")
    apart = F.format_string("%s (%d of %d by %s)", "description", place, num_alike, order)
    return told.withColumn("description", F.when(num_alike > 1, apart).otherwise(F.col("description")))


def _in_words(everyone: WindowSpec) -> Column:
    """How often, how much, how dear with discounts, and whether it is fading, in that order."""
    orders, recency = F.col("mean_orders_90d"), F.col("mean_recency_days")
    often = F.lit("has stopped buying")
    for least, words in reversed(FREQUENCIES):
        often = F.when(orders >= least, words).otherwise(often)
    often = F.when(recency.isNull(), "has never bought").otherwise(often)
    revenue = F.col("mean_revenue_90d_cents")
    highest, lowest = F.max(revenue).over(everyone), F.min(revenue).over(everyone)
    mean_revenue = _mean_of_all("mean_revenue_90d_cents", everyone)
    spends = (
        F.when((revenue <= 0) | (highest == lowest), None)
        .when(revenue == highest, "spends most")
        .when(revenue == lowest, "spends least")
        .when(revenue >= 1.25 * mean_revenue, "spends more than most")
        .when(revenue <= 0.75 * mean_revenue, "spends less than most")
        .otherwise("spends like the average")
    )
    share = F.col("mean_discount_share")
    mean_share = _mean_of_all("mean_discount_share", everyone)
    dear = F.when(share >= 1.2 * mean_share, "looks for discounts").when(share <= 0.8 * mean_share, "pays full price")
    # Silent for twice as long as the pace of its baskets would have it.
    fading = F.when((orders >= 0.5) & (recency > 2 * 90 / orders), "lapsing")
    return F.concat_ws(", ", often, spends, dear, fading)


def _mean_of_all(column: str, everyone: WindowSpec) -> Column:
    weight = F.when(F.col(column).isNotNull(), F.col("num_customers"))
    return F.try_divide(F.sum(F.col(column) * weight).over(everyone), F.sum(weight).over(everyone))
