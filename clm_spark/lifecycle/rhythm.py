"""How long the shop's customers take from one purchase to the next, month by month: the prior of a customer's own rhythm."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.features.versions import KEY, seen_days
from clm_spark.tables.catalog import CUSTOMER_DAYS, PURCHASE_RHYTHMS


def months_until(first_on: date, last_on: date) -> list[date]:
    """The first day of each month from that of `first_on` to that of `last_on`."""
    numbers = range(first_on.year * 12 + first_on.month - 1, last_on.year * 12 + last_on.month)
    return [date(number // 12, number % 12 + 1, 1) for number in numbers]


def purchase_rhythms(customer_days: DataFrame, months: Sequence[date]) -> DataFrame:
    """One row per month, as gold.purchase_rhythms declares: what was known on its first morning, which stays so for good.

    Of ids as events have them: what persons are stitched of changes, and a prior should not.
    """
    known = seen_days(customer_days, months, CUSTOMER_DAYS).where("num_orders > 0")
    before = F.lag("day_on").over(Window.partitionBy(KEY, "as_of").orderBy("day_on"))
    gaps = known.withColumn("gap", F.date_diff("day_on", before)).where(F.col("gap").isNotNull())
    of_month = gaps.groupBy("as_of").agg(
        F.count("gap").alias("num_gaps"),
        F.avg("gap").alias("mean_gap_days"),
        F.stddev_pop("gap").alias("gap_spread_days"),
    )
    every = customer_days.sparkSession.createDataFrame([(month,) for month in months], "as_of date")
    rows = every.join(of_month, on="as_of", how="left").withColumn("num_gaps", F.coalesce("num_gaps", F.lit(0)))
    return rows.select(PURCHASE_RHYTHMS.schema.names)
