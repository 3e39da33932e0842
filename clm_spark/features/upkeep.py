"""Bring gold.customer_days and gold.customer_features up to what is known, at the cost of what is new."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.events.bots import CUSTOMER_DAY, bot_days_to_leave_out, with_flagged_on
from clm_spark.events.changes import changes_since
from clm_spark.events.identity import known_persons
from clm_spark.events.ledger import batches_new_to, days_of, is_on_days, mark_worked
from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customers import (
    ONE_DAY,
    customer_features,
    days_that_move,
    ids_of,
    next_customer_features,
)
from clm_spark.session import kept
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES, EVENTS, IDENTITIES
from clm_spark.tables.commits import Commit, days_changed, last_write_of
from clm_spark.tables.customer_features import FEATURES
from clm_spark.tables.lake import Lake
from clm_spark.tables.measures import CUSTOMER_MEASURES

# A change of what is declared makes new rows of all days.
MEASURES_DIGEST = hashlib.sha256(repr(CUSTOMER_MEASURES).encode()).hexdigest()
FEATURES_DIGEST = hashlib.sha256(repr(FEATURES).encode()).hexdigest()

log = logging.getLogger(__name__)


def update_customer_days(lake: Lake, settings: Settings) -> None:
    """Write the versions of days that new events, or bots found out, have made; every day where none is there yet.

    Of silver.events only the days are read that these fall on. All is made again after a change of `max_gap`, of
    `bots.leave_out`, of the key or of what is measured.
    """
    max_gap = timedelta(minutes=settings.sessions.max_gap_minutes)
    made_with = (
        f"max_gap {max_gap}, bots left out: {settings.bots.leave_out}, key {lake.schemas.key.fingerprint}, "
        f"measures {MEASURES_DIGEST}"
    )
    news = batches_new_to(lake, CUSTOMER_DAYS, made_with=made_with)
    bot_days = bot_days_to_leave_out(lake)
    events = lake.read(EVENTS)
    changes = None if news.is_all else changes_since(lake, CUSTOMER_DAYS)
    if changes is None:
        partials = customer_days_from_events(with_flagged_on(events, bot_days), max_gap=max_gap)
        lake.replace(partials, into=CUSTOMER_DAYS, is_key_proven=True)  # grouped by its key
    elif news or changes:
        came = events.where(F.col("batch_id").isin(news.names))
        touched = [came.select("customer_id", F.to_date("occurred_at").alias("day_on"))]
        if changes.bot_days is not None:
            touched.append(changes.bot_days.select(*CUSTOMER_DAY))
        with kept(reduce(DataFrame.unionByName, touched).distinct()) as pairs:
            days = days_of(pairs, "day_on", "day_on")
            dated = events.where(is_on_days("occurred_at", days)).withColumn("day_on", F.to_date("occurred_at"))
            theirs = dated.join(pairs, on=list(CUSTOMER_DAY), how="left_semi").drop("day_on")
            partials = customer_days_from_events(with_flagged_on(theirs, bot_days), max_gap=max_gap)
            with kept(partials) as renewed:
                _replace_pairs(lake, renewed, pairs, days)
    if news:
        mark_worked(lake, news)


def update_customer_features(lake: Lake, days: Sequence[date]) -> None:
    """Write the features of each of `days`, but for those that nothing learned since has changed.

    The day after one that holds is carried on from it; others are merged from all their partials, in one pass.
    """
    commits = {table.title: lake.commits(table) for table in (CUSTOMER_FEATURES, CUSTOMER_DAYS, IDENTITIES)}
    due = sorted(day for day in days if not _still_holds(lake, commits, day))
    next_days = [day for day in due if day - ONE_DAY in due or _still_holds(lake, commits, day - ONE_DAY)]
    merged = [day for day in due if day not in next_days]
    if merged:
        features = customer_features(lake.read(CUSTOMER_DAYS), days=merged, persons=known_persons(lake, merged))
        lake.replace(features, into=CUSTOMER_FEATURES, is_key_proven=True, made_with=FEATURES_DIGEST, as_of=merged)
    for day in next_days:
        _carry_on(lake, day)
    if not due:
        log.info("nothing was learned that the features did not know")


def _carry_on(lake: Lake, as_of: date) -> None:
    yesterday = as_of - ONE_DAY
    partials, persons = lake.read(CUSTOMER_DAYS), known_persons(lake, [yesterday, as_of])
    # Bounded by the days of the log.
    of_yesterday = partials.where((F.col("known_on") == F.lit(yesterday)) & (F.col("day_on") < F.lit(yesterday)))
    moving = days_that_move(as_of, corrected=days_of(of_yesterday, "day_on", "day_on"))
    before = lake.read_as_of(CUSTOMER_FEATURES, yesterday).drop("as_of")
    of_days = partials.where(F.col("day_on").isin(moving))
    carried, beyond = next_customer_features(before, of_days, as_of=as_of, persons=persons)
    with kept(beyond) as customers:
        rows = carried
        if not customers.isEmpty():
            today = known_persons(lake, [as_of])
            theirs = partials.join(ids_of(customers, today), on="customer_id", how="left_semi")
            rows = rows.unionByName(customer_features(theirs, days=[as_of], persons=today))
        lake.replace(rows, into=CUSTOMER_FEATURES, is_key_proven=True, made_with=FEATURES_DIGEST, as_of=as_of)


def _still_holds(lake: Lake, commits: Mapping[str, Sequence[Commit]], day: date) -> bool:
    """Whether what the features of `day` were made of is still what that day knew."""
    last = last_write_of(commits[CUSTOMER_FEATURES.title], column="as_of", day=day)
    if last is None or last.mark.get("made_with") != FEATURES_DIGEST or last.values("as_of") is None:
        return False
    for table in (CUSTOMER_DAYS, IDENTITIES):
        seen = last.inputs.get(table.title)
        if seen is None:
            if commits[table.title]:
                return False
            continue
        changed = days_changed(commits[table.title], since=seen, column="known_on")
        if changed is None or any(known_on < day for known_on in changed):
            return False
    return True


def _replace_pairs(lake: Lake, renewed: DataFrame, pairs: DataFrame, days: Sequence[date]) -> None:
    """Put all versions of these pairs of customer and day in place of the stored ones; other `known_on` stay as they are."""
    stored = lake.read(CUSTOMER_DAYS)
    theirs = stored.where(F.col("day_on").isin(list(days))).join(pairs, on=list(CUSTOMER_DAY), how="left_semi")
    digest = F.xxhash64(*CUSTOMER_DAYS.schema.names)
    was, now = (rows.select(*CUSTOMER_DAYS.key, digest.alias("digest")) for rows in (theirs, renewed))
    both = was.alias("was").join(now.alias("now"), on=list(CUSTOMER_DAYS.key), how="full")
    differing = both.where(~F.col("was.digest").eqNullSafe(F.col("now.digest")))
    known_on = days_of(differing, "known_on", "known_on")
    if not known_on:  # as after a crash between the last write and its note
        return
    is_due = F.col("known_on").isin(known_on)
    others = stored.where(is_due).join(pairs, on=list(CUSTOMER_DAY), how="left_anti")
    rows = others.unionByName(renewed.where(is_due))
    lake.replace(rows, into=CUSTOMER_DAYS, is_key_proven=True, known_on=known_on)
