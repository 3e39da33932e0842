"""Visits: a customer's events without a long silence between them."""

from collections.abc import Mapping
from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import with_person
from clm_spark.events.visits.slots import slots_from_events, with_visit_number
from clm_spark.privacy.pseudonyms import visit_id
from clm_spark.tables.catalog import SESSIONS
from clm_spark.tables.measures import NOT_A_VISIT, OF_VISIT, Measure


def sessions_from_events(events: DataFrame, persons: DataFrame | None = None, *, max_gap: timedelta) -> DataFrame:
    """One row per visit, as silver.sessions declares it; `persons` maps the ids in the events to persons."""
    visits = visits_from_events(events, persons, max_gap=max_gap)
    named = {
        "session_id": visit_id(F.col("customer_id"), F.col("started_at")),
        "started_on": F.to_date("started_at"),
        "duration_seconds": F.unix_seconds("ended_at") - F.unix_seconds("started_at"),
    }
    return visits.withColumns(named).select(SESSIONS.schema.names)


def visits_from_events(
    events: DataFrame, persons: DataFrame | None, *, max_gap: timedelta, first: Mapping[str, str] = {}
) -> DataFrame:
    """One row per customer and `visit`: `started_at`, `ended_at`, the measures of a visit and what is asked for as `first`.

    `first` names SQL over an event: its value in the first event of the visit that has one, the lesser where two are at
    the same time; null where none has.
    """
    # The least of structs is found by sorting: for a day's events, not for a whole log.
    firsts = [
        Measure(name, "", f"min(struct(occurred_at, {sql} AS of_event)) FILTER (WHERE {sql} IS NOT NULL)")
        for name, sql in first.items()
    ]
    acts, measures = events.where(~F.col("kind").isin(*NOT_A_VISIT)), (*OF_VISIT, *firsts)
    slots = with_person(slots_from_events(acts, max_gap=max_gap, by=("customer_id",), measures=measures), persons)
    return (
        with_visit_number(slots, max_gap=max_gap, within=("customer_id",))
        .groupBy("customer_id", "visit")
        .agg(
            F.timestamp_micros(F.min("started_us")).alias("started_at"),
            F.timestamp_micros(F.max("ended_us")).alias("ended_at"),
            *(F.sum(measure.name).alias(measure.name) for measure in OF_VISIT),
            *(F.min(name)["of_event"].alias(name) for name in first),
        )
    )


def keep_reached(visits: DataFrame, new_events: DataFrame, *, max_gap: timedelta) -> DataFrame:
    """Keep the visits that a new event falls into or within `max_gap` of. No other visit can change."""
    came = new_events.where(~F.col("kind").isin(*NOT_A_VISIT)).select(
        "customer_id", F.col("occurred_at").alias("_came_at")
    )
    is_near = (F.col("_came_at") >= F.col("started_at") - F.lit(max_gap)) & (
        F.col("_came_at") <= F.col("ended_at") + F.lit(max_gap)
    )
    return visits.join(came, on=[visits["customer_id"] == came["customer_id"], is_near], how="left_semi")


def recomputed_visits(events: DataFrame, new_events: DataFrame, reached: DataFrame, *, max_gap: timedelta) -> DataFrame:
    """The visits, as silver.sessions declares them, that replace those in `reached`.

    `new_events` are among `events`. They are sessionized together with the events of the reached visits alone: all
    other events of their customers are more than `max_gap` away.
    """
    spans = reached.select(F.col("customer_id").alias("_who"), "started_at", "ended_at")
    is_inside = (F.col("customer_id") == F.col("_who")) & F.col("occurred_at").between(
        F.col("started_at"), F.col("ended_at")
    )
    inside = events.join(spans, on=is_inside, how="left_semi")
    outside = new_events.join(spans, on=is_inside, how="left_anti")
    return sessions_from_events(inside.unionByName(outside), max_gap=max_gap)
