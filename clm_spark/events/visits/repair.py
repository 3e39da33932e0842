"""Incremental sessionization and late-event repair: recompute only the visits that new events reach."""

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.bots import CUSTOMER_DAY, bot_days_to_leave_out, drop_bot_days
from clm_spark.events.changes import Changes, changes_since
from clm_spark.events.guests import drop_guests
from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.events.ledger import NewBatches, days_of, is_on_days, mark_processed, unprocessed_batches
from clm_spark.events.visits.sessions import keep_reached, recomputed_visits, sessions_from_events
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import EVENTS, SESSIONS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Log:
    """silver.events without bots and guests, and the person of each id; None where every id is its own person."""

    events: DataFrame
    persons: DataFrame | None

    def of_persons(self, events: DataFrame) -> DataFrame:
        """The events under the ids of persons."""
        return with_person(events, self.persons)


def build_sessions(lake: Lake, settings: Settings) -> None:
    """Recompute the visits that new events reach, and those of ids that moved to another person or were flagged as bots.

    All visits are recomputed where there are none yet, where `max_gap`, the key, the shop's zone or `bots.leave_out` changed, or where
    VACUUM removed the versions of persons and bots that the visits were made with.
    """
    max_gap = timedelta(minutes=settings.sessions.max_gap_minutes)
    made_with = (
        f"max_gap {max_gap}, bots left out: {settings.bots.leave_out}, key {lake.schemas.key.fingerprint}, "
        f"days of {lake.time_zone}"
    )
    batches = unprocessed_batches(lake, SESSIONS, made_with=made_with)
    events = drop_bot_days(drop_guests(lake.read(EVENTS)), bot_days_to_leave_out(lake))
    known = _Log(events, known_persons(lake, [date.max]))
    changes = None if batches.is_all else changes_since(lake, SESSIONS)
    if changes is None:
        visits = sessions_from_events(known.events, known.persons, max_gap=max_gap)
        lake.replace(visits, into=SESSIONS, is_key_proven=True)  # grouped by its key
    elif batches or changes:
        _repair(lake, known, batches, changes, max_gap=max_gap)
    else:
        log.info("no new events, persons or bots since the visits were made")
    if batches:
        mark_processed(lake, batches)


def _repair(lake: Lake, known: _Log, batches: NewBatches, changes: Changes, *, max_gap: timedelta) -> None:
    """Replace the days on which the recomputed visits begin; a second run leaves the same rows."""
    stored = lake.read(SESSIONS)
    with ExitStack() as stack:
        left = stack.enter_context(persisted(_visits_left(stored, changes, known)))
        new_events = stack.enter_context(persisted(_events_to_place(known, batches, changes, left)))
        span = new_events.agg(F.min("occurred_at").alias("first"), F.max("occurred_at").alias("last")).head()
        reached = left
        if span is not None and span["first"] is not None:
            is_in_reach = (F.col("ended_at") >= F.lit(span["first"] - max_gap)) & (
                F.col("started_at") <= F.lit(span["last"] + max_gap)
            )
            near = keep_reached(stored.where(is_in_reach), new_events, max_gap=max_gap)
            reached = near.unionByName(left).dropDuplicates(["session_id"])
        reached = stack.enter_context(persisted(reached))
        touched = {*days_of(reached, "started_at", "ended_at"), *days_of(new_events, "occurred_at", "occurred_at")}
        nearby = known.of_persons(known.events.where(is_on_days("occurred_at", sorted(touched))))
        visits = stack.enter_context(persisted(recomputed_visits(nearby, new_events, reached, max_gap=max_gap)))
        days = {*days_of(reached, "started_at", "started_at"), *days_of(visits, "started_at", "started_at")}
        if not days:  # campaign mails or a bot's events alone make no visit
            return
        of_days = stored.where(F.col("started_on").isin(sorted(days)))
        untouched = of_days.join(reached, on="session_id", how="left_anti")
        lake.replace(untouched.unionByName(visits), into=SESSIONS, started_on=sorted(days))
        log.info("visits of %d days recomputed", len(days))


def _visits_left(stored: DataFrame, changes: Changes, known: _Log) -> DataFrame:
    """Visits that may hold events of an id that moved to another person, or of a day whose bot flag changed."""
    left = [stored.limit(0)]
    if changes.moved is not None:
        were = changes.moved.select(F.col("was").alias("customer_id")).distinct()
        left.append(stored.join(were, on="customer_id", how="left_semi"))
    if changes.bot_days is not None:
        theirs = known.of_persons(changes.bot_days).select(F.col("customer_id").alias("_who"), "day_on")
        is_that_day = (F.col("customer_id") == F.col("_who")) & F.col("day_on").between(
            F.col("started_on"), F.to_date("ended_at")
        )
        left.append(stored.join(theirs, on=is_that_day, how="left_semi"))
    return reduce(DataFrame.unionByName, left).dropDuplicates(["session_id"])


def _events_to_place(known: _Log, batches: NewBatches, changes: Changes, left: DataFrame) -> DataFrame:
    """Events that no stored visit of their person holds: new ones, those of moved ids, and of days no longer flagged."""
    events = [known.events.where(F.col("batch_id").isin(batches.names))]
    if changes.moved is not None:
        ids = changes.moved.select(F.col("id").alias("customer_id"))
        days = days_of(left, "started_at", "ended_at")
        events.append(known.events.where(is_on_days("occurred_at", days)).join(ids, on="customer_id", how="left_semi"))
    if changes.bot_days is not None:
        days = days_of(changes.bot_days, "day_on", "day_on")
        dated = known.events.where(is_on_days("occurred_at", days)).withColumn("day_on", F.to_date("occurred_at"))
        events.append(dated.join(changes.bot_days, on=list(CUSTOMER_DAY), how="left_semi").drop("day_on"))
    once = reduce(DataFrame.unionByName, events)
    return known.of_persons(once.dropDuplicates(["event_id"]) if len(events) > 1 else once)
