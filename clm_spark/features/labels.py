"""Labels: what customers did from an as_of on. The only place that looks ahead of it."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.features.panel import panel_days
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_DAYS
from clm_spark.tables.lake import Lake

AHEAD = ("num_orders", "revenue_cents", "refund_cents")


def answered_days(settings: Settings, *, horizon_days: int) -> list[date]:
    """The days of the panel whose labels are all known by the run's as_of, latest first."""
    horizon = timedelta(days=horizon_days)
    return [day for day in panel_days(settings) if day + horizon <= settings.as_of]


def known_labels(
    lake: Lake,
    customers: DataFrame,
    *,
    days: Sequence[date],
    known_on: date,
    horizon_days: int,
    gap_days: int = 0,
) -> DataFrame:
    """As `customer_labels`, of `customers` by customer_id and as_of, as known on the morning of `known_on`.

    `days` are their as_of: nothing before the first is read, which Delta finds by its partitions and statistics.
    """
    ahead, persons = lake.read_as_of(CUSTOMER_DAYS, known_on), known_persons(lake, [known_on])
    since = min(days, default=known_on)
    ahead = ahead.where(F.col("day_on") >= F.lit(since))
    return customer_labels(customers, ahead, persons, horizon_days=horizon_days, gap_days=gap_days)


def customer_labels(
    features: DataFrame,
    customer_days: DataFrame,
    persons: DataFrame | None = None,
    *,
    horizon_days: int,
    gap_days: int = 0,
) -> DataFrame:
    """One row per customer and as_of of `features`: what came in the `horizon_days` that begin `gap_days` after as_of.

    `customer_days` has one version of each day, that of the run's own as_of, and `persons` are those it knows. The
    caller leaves out every as_of whose horizon has not ended: days to come would count as days without orders.
    """
    days = with_person(customer_days.select("customer_id", "day_on", *AHEAD), persons)
    begins = F.date_add("_on", gap_days)
    in_horizon = (F.col("day_on") >= begins) & (F.col("day_on") < F.date_add(begins, horizon_days))
    came = person_by_now(features, persons).join(days, on="customer_id", how="inner").where(in_horizon)
    summed = came.groupBy(F.col("_asked").alias("customer_id"), F.col("_on").alias("as_of")).agg(
        F.sum("num_orders").alias("num_orders_ahead"),
        F.sum(F.col("revenue_cents") - F.col("refund_cents")).alias("net_revenue_ahead_cents"),
    )
    sums = ("num_orders_ahead", "net_revenue_ahead_cents")
    labelled = features.select("customer_id", "as_of").join(summed, on=["customer_id", "as_of"], how="left")
    known = labelled.withColumns({name: F.coalesce(name, F.lit(0)) for name in sums})
    return known.withColumn("is_churned", F.col("num_orders_ahead") == 0)


def person_by_now(asked: DataFrame, persons: DataFrame | None) -> DataFrame:
    """A row per row of `asked`, its id as `_asked` and its as_of as `_on`: `customer_id` is the person that `persons` know it as.

    What is bought under a login counts for the visitor, even where the two were linked only later: on the morning asked
    about, the visitor was who could be shown something.
    """
    ids = asked.select("customer_id", F.col("as_of").alias("_on"), F.col("customer_id").alias("_asked"))
    return with_person(ids, persons)


def bought_items(events: DataFrame, customers: DataFrame, persons: DataFrame | None, *, since: date) -> DataFrame:
    """One row per customer and item bought from `since` on: what a recommender should have shown that morning.

    Of `customers`, rows of customer_id as known then; `persons` are those known by now.
    """
    bought = (F.col("kind") == "purchase") & F.col("item_id").isNotNull() & (F.col("occurred_at") >= F.lit(since))
    items = with_person(events.where(bought).select("customer_id", "item_id"), persons)
    asked = person_by_now(customers.select("customer_id").distinct().withColumn("as_of", F.lit(since)), persons)
    of_asked = asked.join(items, on="customer_id", how="inner")
    return of_asked.select(F.col("_asked").alias("customer_id"), "item_id").distinct()
