"""Partial aggregates of customers: the measures of a customer's day, in the version known on a later day."""

from datetime import timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.bots import CUSTOMER_DAY
from clm_spark.events.clocks import available_on
from clm_spark.events.visits.slots import SECOND_US, slots_from_events, with_visit_number
from clm_spark.features.versions import with_every_version
from clm_spark.tables.catalog import CUSTOMER_DAYS
from clm_spark.tables.measures import OF_A_VISIT, OF_EVENTS, OF_ORDERS, OF_VISITS

VERSION = (*CUSTOMER_DAY, "known_on")
OF_SLOT = tuple(measure.name for measure in OF_EVENTS)
SUMS = (*OF_SLOT, *(measure.name for measure in OF_ORDERS))
# Whether a slot is of the day itself, of the day before it or of the day after it.
BEFORE, OWN, AFTER = -1, 0, 1


def customer_days_from_events(events: DataFrame, *, max_gap: timedelta) -> DataFrame:
    """One row per customer, active day and day on which more of it became known, as gold.customer_days declares.

    A visit or an order that goes on after midnight counts on its first day: a day follows from its own events and those of
    the days around it, which `events` must hold. A visit is followed over one midnight, as none goes on for a day.

    A late event adds a version and leaves the earlier one, which an as_of between the two still reads. Events may have
    `flagged_on`: a version of that day or later is empty, and is left out where there is no earlier one.
    """
    order = F.when(F.col("kind") == "purchase", F.coalesce("order_id", "event_id"))
    dated = events.withColumns({"day_on": F.to_date("occurred_at"), "available_on": available_on(), "order": order})
    flag = [name for name in ("flagged_on",) if name in events.columns]
    # Slots are far fewer than events: they are shuffled, sorted and repeated for each version.
    slots = slots_from_events(dated, max_gap=max_gap, by=(*CUSTOMER_DAY, "available_on", "order", *flag))
    near = _with_days_around(slots.repartition("customer_id"), max_gap)
    versioned = with_every_version(near, sums=OF_SLOT, others=("started_us", "ended_us", "order"))
    is_own = F.col("place") == OWN
    visits = (
        with_visit_number(_with_num_orders(versioned), max_gap=max_gap, within=VERSION)
        .groupBy(*VERSION, "visit")
        .agg(
            *(F.sum(F.when(is_own, F.col(name)).otherwise(0)).alias(name) for name in SUMS),
            *(F.sum(name).alias(whole) for whole, name in OF_A_VISIT.items()),
            F.expr(f"(max(ended_us) - min(started_us)) DIV {SECOND_US}").alias("seconds"),
            F.bool_or(is_own).alias("is_of_day"),
            F.min_by("place", F.struct("started_us", "slot")).alias("begins"),
        )
    )
    is_begun = F.col("begins") == OWN
    whole = {name: F.when(is_begun, F.col(name)) for name in ("visit", "seconds", *OF_A_VISIT)}
    of_visits = (F.expr(measure.sql).alias(measure.name) for measure in OF_VISITS)
    days = (
        visits.withColumns(whole)
        .groupBy(*VERSION)
        .agg(*(F.sum(name).alias(name) for name in SUMS), *of_visits, F.bool_or("is_of_day").alias("is_of_day"))
    )
    return days.where("is_of_day").select(CUSTOMER_DAYS.schema.names)


def _with_days_around(slots: DataFrame, max_gap: timedelta) -> DataFrame:
    """Repeat slots for the days around theirs, of which they may hold the rest of a visit or of an order.

    Adds `place`. Neighbours are known no sooner than the day itself.
    """
    gap_us = max_gap // timedelta(microseconds=1)
    day = Window.partitionBy(*CUSTOMER_DAY)
    may_go_on = _midnight_us(1) - F.col("ended_us") <= gap_us
    may_begin_earlier = F.min("started_us").over(day) - _midnight_us(0) <= gap_us
    marked = slots.withColumns(
        {
            "_before": F.when(may_go_on | F.col("order").isNotNull(), BEFORE),
            "_after": F.when(may_begin_earlier, AFTER),
        }
    )
    places = F.array_compact(F.array(F.lit(OWN), "_before", "_after"))
    exploded = marked.withColumn("place", F.explode(places))
    placed = exploded.withColumn("day_on", F.date_sub("day_on", F.col("place")))
    is_own, is_after = F.col("place") == OWN, F.col("place") == AFTER
    known = placed.withColumns(
        {
            "_own_on": F.min(F.when(is_own, F.col("available_on"))).over(day),  # null: a day without events of its own
            "_ended_us": F.max(F.when(is_own, F.col("ended_us"))).over(day),
            "_started_us": F.min(F.when(is_after, F.col("started_us"))).over(day),
        }
    )
    is_near = ~is_after | (F.col("_started_us") - F.col("_ended_us") <= gap_us)
    return (
        known.where(F.col("_own_on").isNotNull() & F.coalesce(is_near, F.lit(False)))
        .withColumn("available_on", F.greatest("available_on", "_own_on"))
        .drop("_before", "_after", "_own_on", "_ended_us", "_started_us")
    )


def _midnight_us(days: int) -> Column:
    """The midnight with which the day begins, or one of the days after it, in microseconds since 1970."""
    return F.unix_micros(F.date_add("day_on", days).cast("timestamp"))


def _with_num_orders(slots: DataFrame) -> DataFrame:
    """Add `num_orders`: 1 for the first slot of each order in a version, unless the day before has the order, too."""
    first = Window.partitionBy(*VERSION, "order").orderBy("place", "available_on", "slot")
    is_first = F.col("order").isNotNull() & (F.row_number().over(first) == 1) & (F.col("place") == OWN)
    return slots.withColumn("num_orders", is_first.cast("bigint"))
