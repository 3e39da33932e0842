"""Bring silver.sessions up to the events that came since it was written, late ones too, at the cost of what they touch."""

import logging
from datetime import date, timedelta

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.events.bots import bot_days_to_leave_out, drop_bot_days
from clm_spark.events.identity import known_persons, with_person
from clm_spark.events.ledger import News, batches_new_to, days_of, is_on_days, mark_worked
from clm_spark.events.sessions import keep_reached, sessions_from_events, visits_cut_again, with_session_id
from clm_spark.tables.catalog import EVENTS, SESSIONS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def build_sessions(lake: Lake, settings: Settings) -> None:
    """Cut again what new events have reached; everything, where it is not events alone that changed.

    That is when there are no visits yet, or `max_gap`, the persons known or the bots flagged are others.
    """
    max_gap = timedelta(minutes=settings.sessions.max_gap_minutes)
    bot_days, persons = bot_days_to_leave_out(lake), known_persons(lake, [date.max])
    made_with = f"max_gap {max_gap}, bots {_fingerprint(bot_days)}, persons {_fingerprint(persons)}"
    news = batches_new_to(lake, SESSIONS, made_with=made_with)
    if not news and not news.is_all:
        log.info("no event came since the visits were cut")
        return
    events = with_person(drop_bot_days(lake.read(EVENTS), bot_days), persons)
    if news.is_all:
        visits = sessions_from_events(with_session_id(events, max_gap=max_gap))
        lake.replace(visits, into=SESSIONS, is_key_proven=True)  # grouped by its key
    else:
        _mend(lake, events, news, max_gap=max_gap)
    mark_worked(lake, news)


def _fingerprint(rows: DataFrame | None) -> str:
    """Tells one set of rows from another, in whatever order; small tables, next to the events."""
    if rows is None:
        return "none"
    summed = rows.agg(F.count("*"), F.sum(F.xxhash64(*rows.columns).cast("decimal(38,0)"))).head()
    assert summed is not None
    return f"{summed[0]}/{summed[1]}"


def _mend(lake: Lake, events: DataFrame, batches: News, *, max_gap: timedelta) -> None:
    """Replace the days on which visits begin that these batches have reached; run twice it leaves the same rows."""
    stored = lake.read(SESSIONS)
    news = events.where(F.col("batch_id").isin(batches.names))
    span = news.agg(F.min("occurred_at").alias("first"), F.max("occurred_at").alias("last")).head()
    if span is None or span["first"] is None:  # nothing but a bot's
        return
    is_in_reach = (F.col("ended_at") >= F.lit(span["first"] - max_gap)) & (
        F.col("started_at") <= F.lit(span["last"] + max_gap)
    )
    reached = keep_reached(stored.where(is_in_reach), news, max_gap=max_gap).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        touched = {*days_of(reached, "started_at", "ended_at"), *days_of(news, "occurred_at", "occurred_at")}
        nearby = events.where(is_on_days("occurred_at", sorted(touched)))
        visits = visits_cut_again(nearby, news, reached, max_gap=max_gap).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            days = {*days_of(reached, "started_at", "started_at"), *days_of(visits, "started_at", "started_at")}
            if not days:  # nothing but mails: no visit
                return
            untouched = stored.where(F.col("started_on").isin(sorted(days))).join(
                reached, on="session_id", how="left_anti"
            )
            rows = untouched.unionByName(visits)
            lake.replace(rows, into=SESSIONS, started_on=sorted(days))
            log.info("visits of %d days cut again", len(days))
        finally:
            visits.unpersist()
    finally:
        reached.unpersist()
