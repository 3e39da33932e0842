"""Partial aggregates of customers: the measures of a customer's day, in the version known on a later day."""

from datetime import timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.bots import CUSTOMER_DAY
from clm_spark.events.clocks import available_on
from clm_spark.events.visits.slots import SECOND_US, slots_from_events, with_visit_number
from clm_spark.features.versions import with_every_version
from clm_spark.tables.catalog import CUSTOMER_DAYS
from clm_spark.tables.measures import OF_EVENTS, OF_ORDERS, OF_VISITS

VERSION = (*CUSTOMER_DAY, "known_on")
SUMS = tuple(measure.name for measure in (*OF_EVENTS, *OF_ORDERS))


def customer_days_from_events(events: DataFrame, *, max_gap: timedelta) -> DataFrame:
    """One row per customer, active day and day on which more of it became known, as gold.customer_days declares.

    A late event adds a version and leaves the earlier one, which an as_of between the two still reads. Events may have
    `flagged_on`: a version of that day or later is empty, and is left out where there is no earlier one.
    """
    order = F.when(F.col("kind") == "purchase", F.coalesce("order_id", "event_id"))
    dated = events.withColumns({"day_on": F.to_date("occurred_at"), "available_on": available_on(), "order": order})
    flag = [name for name in ("flagged_on",) if name in events.columns]
    # Slots are far fewer than events: they are shuffled, sorted and repeated for each version.
    slots = slots_from_events(dated, max_gap=max_gap, by=(*CUSTOMER_DAY, "available_on", "order", *flag))
    available = _with_num_orders(slots.repartition(*CUSTOMER_DAY))
    versioned = with_every_version(available, sums=SUMS, times=("started_us", "ended_us"))
    visits = (
        with_visit_number(versioned, max_gap=max_gap, within=VERSION)
        .groupBy(*VERSION, "visit")
        .agg(
            *(F.sum(name).alias(name) for name in SUMS),
            F.expr(f"(max(ended_us) - min(started_us)) DIV {SECOND_US}").alias("seconds"),
        )
    )
    of_visits = (F.expr(measure.sql).alias(measure.name) for measure in OF_VISITS)
    days = visits.groupBy(*VERSION).agg(*(F.sum(name).alias(name) for name in SUMS), *of_visits)
    return days.select(CUSTOMER_DAYS.schema.names)


def _with_num_orders(slots: DataFrame) -> DataFrame:
    """Add `num_orders`: 1 for the first slot of each order, so that every version counts the order once."""
    first = Window.partitionBy(*CUSTOMER_DAY, "order").orderBy("available_on", "slot")
    is_first = F.col("order").isNotNull() & (F.row_number().over(first) == 1)
    return slots.withColumn("num_orders", is_first.cast("bigint"))
