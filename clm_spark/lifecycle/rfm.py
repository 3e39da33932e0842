"""Recency, frequency and money: scores of 1 to 5, and the eleven named cells of marketing."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.settings import RfmSettings
from clm_spark.tables.catalog import RFM_SCORES

FIFTHS = (0.2, 0.4, 0.6, 0.8)

# Recency score by row (5: bought lately), mean of frequency and money by column. The usual grid of ten, with `lost` apart.
CELLS = {
    5: ("new_customers", "potential_loyalists", "potential_loyalists", "champions", "champions"),
    4: ("promising", "potential_loyalists", "potential_loyalists", "loyal_customers", "loyal_customers"),
    3: ("about_to_sleep", "about_to_sleep", "need_attention", "loyal_customers", "loyal_customers"),
    2: ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose_them"),
    1: ("lost", "hibernating", "at_risk", "at_risk", "cannot_lose_them"),
}


def worth_score() -> Column:
    """The column of CELLS, 1 to 5: the mean of the scores of frequency and money, rounded up."""
    return F.ceil((F.col("frequency_score") + F.col("monetary_score")) / 2).cast("int")


def rfm_scores(features: DataFrame, *, settings: RfmSettings) -> DataFrame:
    """One row per customer who ever bought, as gold.rfm_scores declares.

    Needs columns of gold.customer_features as of one day. Frequency and money are those of 365 days, money less
    refunds. Equal figures get equal scores, so a fifth may hold more customers than another.
    """
    bought = features.where("num_orders > 0").select(
        "customer_id",
        "as_of",
        F.col("purchase_recency_days").alias("recency_days"),
        F.col("num_orders_365d").alias("num_orders"),
        F.col("net_revenue_365d_cents").alias("net_revenue_cents"),
    )
    limits = {
        "recency_days": settings.recency_days,
        "num_orders": settings.num_orders,
        "net_revenue_cents": settings.net_revenue_cents,
    }
    measured = [name for name, given in limits.items() if given is None]
    rows = bought.crossJoin(F.broadcast(_fifths(bought, measured))) if measured else bought  # one row
    passed = {name: _num_passed(name, given) for name, given in limits.items()}
    scored = rows.withColumns(
        {
            "recency_score": 5 - passed["recency_days"],
            "frequency_score": 1 + passed["num_orders"],
            "monetary_score": 1 + passed["net_revenue_cents"],
        }
    )
    grid = F.array(*(F.array(*map(F.lit, CELLS[recency])) for recency in range(1, 6)))
    cell = F.element_at(F.element_at(grid, F.col("recency_score")), worth_score())
    return scored.withColumn("cell", cell).select(RFM_SCORES.schema.names)


def _fifths(rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """One row with `_limits`: by name, the lowest figures that a fifth of the customers, two, three and four fifths do not exceed.

    From the different figures, each with the number of its customers: exact, and the same in every run.
    """
    pairs = F.array(
        *(F.struct(F.lit(name).alias("name"), F.col(name).cast("bigint").alias("figure")) for name in names)
    )
    counted = rows.select(F.inline(pairs)).groupBy("name", "figure").agg(F.count("*").alias("n"))
    # One task per name sorts the different figures: days, orders and cents of a year.
    of_name = Window.partitionBy("name")
    so_far = F.sum("n").over(of_name.orderBy("figure").rowsBetween(Window.unboundedPreceding, Window.currentRow))
    upto = counted.withColumns({"upto": so_far, "all": F.sum("n").over(of_name)})
    limits = (F.min(F.when(F.col("upto") >= F.ceil(share * F.col("all")), F.col("figure"))) for share in FIFTHS)
    by_name = upto.groupBy("name").agg(F.array(*limits).alias("limits"))
    return by_name.agg(F.map_from_entries(F.collect_list(F.struct("name", "limits"))).alias("_limits"))


def _num_passed(name: str, given: Sequence[int] | None) -> Column:
    """How many of the four limits a figure is above: 0 to 4."""
    limits = [F.lit(limit) for limit in given] if given is not None else [F.col("_limits")[name][at] for at in range(4)]
    above = [(F.col(name) > limit).cast("int") for limit in limits]
    return above[0] + above[1] + above[2] + above[3]
