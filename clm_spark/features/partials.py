"""Incremental refresh of the partial aggregates of customers and items: only changed days are recomputed."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial, reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.bots import CUSTOMER_DAY, bot_days_to_leave_out, with_flagged_on
from clm_spark.events.changes import changes_since
from clm_spark.events.guests import drop_guests, with_guests_as_one
from clm_spark.events.ledger import days_of, is_on_days, mark_processed, unprocessed_batches
from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customer_item_days import customer_item_days_from_events
from clm_spark.features.item_days import ITEM_DAY, item_days_from_customers
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import (
    CUSTOMER_DAYS,
    CUSTOMER_ITEM_DAYS,
    EVENTS,
    ITEM_DAYS,
)
from clm_spark.tables.commits import days_changed
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake
from clm_spark.tables.measures import CUSTOMER_MEASURES, NUM_OF_KIND, OF_CUSTOMERS, OF_ITEM


def digest(*declared: object) -> str:
    """A hash of declarations: rows made of them are recomputed when it changes."""
    return hashlib.sha256(repr(declared).encode()).hexdigest()


log = logging.getLogger(__name__)


def update_customer_days(lake: Lake, settings: Settings) -> None:
    """Write the versions of customers' days that new events or bot flags change; all days in an empty table.

    Only the days that they fall on are read of silver.events. All days are recomputed after a change of `max_gap`,
    `bots.leave_out`, the key, the shop's zone or the measures.
    """
    max_gap = timedelta(minutes=settings.sessions.max_gap_minutes)
    made_with = f"max_gap {max_gap}, measures {digest(CUSTOMER_MEASURES)}"
    make = partial(customer_days_from_events, max_gap=max_gap)
    _update_days(lake, CUSTOMER_DAYS, made_with, make, of=drop_guests, reach=1)


def update_customer_item_days(lake: Lake) -> None:
    """The same for customers' days with items; what guests buy counts for its item."""
    made_with = f"measures {digest(OF_ITEM, NUM_OF_KIND)}"
    _update_days(lake, CUSTOMER_ITEM_DAYS, made_with, customer_item_days_from_events, of=with_guests_as_one)


def update_item_days(lake: Lake) -> None:
    """Write the versions of items' days whose customers' days changed; all where the changes are unknown.

    Only the changed days are read of gold.customer_item_days.
    """
    now = lake.read(CUSTOMER_ITEM_DAYS)
    # Sketches hold hashed pseudonyms, which cannot be re-keyed.
    made_with = f"key {lake.schemas.key.fingerprint}, measures {digest(OF_CUSTOMERS)}"
    touched = _touched_items(lake, now, made_with)
    if touched is None:
        _write_all_days(lake, ITEM_DAYS, item_days_from_customers(now), made_with=made_with)
        return
    with persisted(touched) as pairs:
        days = days_of(pairs, "day_on", "day_on")
        if not days:
            return
        theirs = now.where(F.col("day_on").isin(days)).join(pairs, on=list(ITEM_DAY), how="left_semi")
        with persisted(item_days_from_customers(theirs)) as renewed:
            _replace_days(lake, ITEM_DAYS, renewed, pairs, days, made_with=made_with)


def _update_days(
    lake: Lake,
    table: Table,
    made_with: str,
    make: Callable[[DataFrame], DataFrame],
    *,
    of: Callable[[DataFrame], DataFrame],
    reach: int = 0,
) -> None:
    """Refresh a table of customers' days; `make` computes its rows from whole days of the events that `of` gives.

    A row follows from the events of its day and of `reach` days before and after it.
    """
    made_with += (
        f", bots left out: {lake.settings.bots.leave_out}, key {lake.schemas.key.fingerprint}, days of {lake.time_zone}"
    )
    batches = unprocessed_batches(lake, table, made_with=made_with)
    bot_days = bot_days_to_leave_out(lake)
    events = of(lake.read(EVENTS))
    changes = None if batches.is_all else changes_since(lake, table)
    if changes is None:
        _write_all_days(lake, table, make(with_flagged_on(events, bot_days)))
    elif batches or changes:
        came = events.where(F.col("batch_id").isin(batches.names))
        touched = [came.select("customer_id", F.to_date("occurred_at").alias("day_on"))]
        if changes.bot_days is not None:
            touched.append(changes.bot_days.select(*CUSTOMER_DAY))
        with persisted(_within_reach(reduce(DataFrame.unionByName, touched), reach)) as pairs:
            of_events = _within_reach(pairs, reach)
            days = days_of(of_events, "day_on", "day_on")
            dated = events.where(is_on_days("occurred_at", days)).withColumn("day_on", F.to_date("occurred_at"))
            theirs = dated.join(of_events, on=list(CUSTOMER_DAY), how="left_semi").drop("day_on")
            made = make(with_flagged_on(theirs, bot_days)).join(pairs, on=list(CUSTOMER_DAY), how="left_semi")
            with persisted(made) as renewed:
                _replace_days(lake, table, renewed, pairs, days_of(pairs, "day_on", "day_on"))
    if batches:
        mark_processed(lake, batches)


def _within_reach(pairs: DataFrame, reach: int) -> DataFrame:
    """The customers' days and those up to `reach` days away, each once."""
    around = F.explode(F.sequence(F.date_sub("day_on", reach), F.date_add("day_on", reach)))
    return pairs.select("customer_id", around.alias("day_on")).distinct() if reach else pairs.distinct()


def _touched_items(lake: Lake, now: DataFrame, made_with: str) -> DataFrame | None:
    """Items' days with a customer's day that changed since gold.item_days was written; None: changes are unknown."""
    last = next((commit for commit in lake.commits(ITEM_DAYS) if commit.is_ours), None)
    if last is None or last.mark.get("made_with") != made_with or CUSTOMER_ITEM_DAYS.title not in last.inputs:
        return None
    since = last.inputs[CUSTOMER_ITEM_DAYS.title]
    changed = days_changed(lake.commits(CUSTOMER_ITEM_DAYS), since=since, column="known_on")
    if changed is None:
        return None
    if not changed:
        return now.select(*ITEM_DAY).limit(0)
    is_changed = F.col("known_on").isin(sorted(changed))
    was = lake.read_version(CUSTOMER_ITEM_DAYS, since, where=is_changed)
    if was is None:
        return None
    # Versions that are gone count as changes, too: a day may lose its bot flag.
    return was.select(*ITEM_DAY).unionByName(now.where(is_changed).select(*ITEM_DAY)).distinct()


def _write_all_days(lake: Lake, table: Table, rows: DataFrame, *, made_with: str | None = None) -> None:
    """Write rows in the order of their days: a daily run then reads only the pages of the few days it needs."""
    lake.replace(rows.sortWithinPartitions("day_on"), into=table, is_key_proven=True, made_with=made_with)


def _replace_days(
    lake: Lake,
    table: Table,
    renewed: DataFrame,
    pairs: DataFrame,
    days: Sequence[date],
    *,
    made_with: str | None = None,
) -> None:
    """Replace all stored versions of these days, writing only the `known_on` that differ.

    `pairs` has a row per day of a customer, or of an item, all of them on `days`.
    """
    stored, pair = lake.read(table), pairs.columns
    theirs = stored.where(F.col("day_on").isin(list(days))).join(pairs, on=pair, how="left_semi")
    digest = F.xxhash64(*table.schema.names)
    was, now = (rows.select(*table.key, digest.alias("digest")) for rows in (theirs, renewed))
    both = was.alias("was").join(now.alias("now"), on=list(table.key), how="full")
    differing = both.where(~F.col("was.digest").eqNullSafe(F.col("now.digest")))
    known_on = days_of(differing, "known_on", "known_on")
    if not known_on:  # as after a crash between the write and its entry in the ledger
        return
    is_due = F.col("known_on").isin(known_on)
    others = stored.where(is_due).join(pairs, on=pair, how="left_anti")
    rows = others.unionByName(renewed.where(is_due))
    lake.replace(rows, into=table, is_key_proven=True, made_with=made_with, known_on=known_on)
