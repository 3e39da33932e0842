"""Partial aggregates: what a customer did on a day, as we knew it on a later day."""

from datetime import timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.bots import was_flagged
from clm_spark.events.sessions import num_of, sum_of, with_session_id


def customer_days_from_events(events: DataFrame, *, max_gap: timedelta) -> DataFrame:
    """One row per customer, active day and day on which we learned more of it, as gold.customer_days declares.

    A late event adds a row and leaves the earlier one: an as_of between the two still sees what it could see then.
    Events may bear `flagged_on`: a version of that day or later is empty, and there is none where no earlier one was.
    """
    versioned = _with_every_version(events)
    visited = with_session_id(versioned, max_gap=max_gap, within=("day_on", "known_on"))
    return visited.groupBy("customer_id", "day_on", "known_on").agg(
        F.count("kind").alias("num_events"),
        F.count_if(F.col("session_id") == F.col("event_id")).alias("num_visits"),
        num_of("view", "click").alias("num_views"),
        num_of("cart").alias("num_carts"),
        # A purchase that names no order is an order of its own.
        F.count_distinct(F.when(F.col("kind") == "purchase", F.coalesce("order_id", "event_id"))).alias("num_orders"),
        num_of("purchase").alias("num_lines"),
        sum_of("quantity", "purchase").alias("num_units"),
        num_of("refund").alias("num_refunds"),
        num_of("campaign_sent").alias("num_campaigns"),
        num_of("coupon_redeemed").alias("num_coupons"),
        sum_of("amount_cents", "purchase").alias("revenue_cents"),
        sum_of("amount_cents", "refund").alias("refund_cents"),
        sum_of("discount_cents", "purchase").alias("discount_cents"),
    )


def with_superseded_on(customer_days: DataFrame) -> DataFrame:
    """Add the `known_on` of the same day's next version: an as_of up to it, and after `known_on`, sees this row."""
    versions = Window.partitionBy("customer_id", "day_on").orderBy("known_on")
    return customer_days.withColumn("superseded_on", F.lead("known_on").over(versions))


def _with_every_version(events: DataFrame) -> DataFrame:
    """Each event once for every version of its day that holds it: those of the day it was learned and later."""
    dated = events.withColumn("day_on", F.to_date("occurred_at")).withColumn(
        "learned_on", F.greatest(F.to_date("known_at"), F.to_date("occurred_at"))
    )
    versions = F.collect_set("learned_on").over(Window.partitionBy("customer_id", "day_on"))
    if "flagged_on" in events.columns:
        versions = F.array_compact(F.array_union(versions, F.array("flagged_on")))
    known = F.filter("_versions", lambda version: version >= F.col("learned_on"))
    versioned = dated.withColumn("_versions", versions).withColumn("known_on", F.explode(known))
    return _without_bots(versioned).drop("learned_on", "_versions")


def _without_bots(versioned: DataFrame) -> DataFrame:
    """Drop what was known for a bot's; where an as_of had seen it, one version stays that says that nothing is left."""
    if "flagged_on" not in versioned.columns:
        return versioned
    is_bot = was_flagged(versioned, by=F.col("known_on"))
    is_withdrawn = (F.col("known_on") == F.col("flagged_on")) & (F.col("learned_on") < F.col("flagged_on"))
    # Without its kind an event counts nowhere.
    return versioned.where(~is_bot | is_withdrawn).withColumn("kind", F.when(~is_bot, F.col("kind")))
