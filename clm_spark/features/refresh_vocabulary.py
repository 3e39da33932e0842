"""Incremental refresh of what recommenders train on: indices are carried on, and a day that is still valid is left alone."""

import logging
from collections.abc import Callable, Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.bots import bot_days_to_leave_out, with_flagged_on
from clm_spark.events.guests import drop_guests
from clm_spark.events.identity.persons import known_persons
from clm_spark.events.ledger import days_of, is_on_days
from clm_spark.features.customers import ONE_DAY, ids_of
from clm_spark.features.interactions import interactions, next_interactions
from clm_spark.features.partials import digest
from clm_spark.features.refresh import valid_days
from clm_spark.features.sequences import OF_EACH, customers_out_of_order, item_sequences, next_item_sequences
from clm_spark.features.vocabulary import item_vocabulary, next_item_indices, room_warning
from clm_spark.settings import Settings
from clm_spark.tables.catalog import (
    CUSTOMER_ITEM_DAYS,
    EVENTS,
    IDENTITIES,
    INTERACTIONS,
    ITEM_DAYS,
    ITEM_INDICES,
    ITEM_SEQUENCES,
    ITEM_VOCABULARY,
)
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

OF_ITEMS = (ITEM_DAYS,)
MOST_SENT = 500_000  # ids of customers that are sent to every worker: some 100 MB
OF_CUSTOMERS = (CUSTOMER_ITEM_DAYS, ITEM_DAYS, IDENTITIES)

log = logging.getLogger(__name__)


def update_item_vocabulary(lake: Lake, days: Sequence[date]) -> None:
    """Write the indices of items and the vocabulary of each of `days` whose stored rows are missing or out of date.

    Warns where the vocabulary of the run's own as_of is nearly full, or full.
    """
    _update_item_indices(lake, days)
    indices, limits = lake.read(ITEM_INDICES), lake.settings.recommend
    made_with = _of_vocabulary(lake.settings)
    due = sorted({*days} - valid_days(lake, days, ITEM_VOCABULARY, made_of=OF_ITEMS, made_with=made_with))
    if due:
        rows = item_vocabulary(
            indices.where(F.col("as_of").isin(due)),
            max_items=limits.max_items,
            retire_after_days=limits.retire_after_days,
        )
        lake.replace(rows, into=ITEM_VOCABULARY, is_key_proven=True, made_with=made_with, as_of=due)
    warning = room_warning(lake.read_as_of(ITEM_INDICES), limits)
    if warning is not None:
        log.warning(warning)


def update_interactions(lake: Lake, days: Sequence[date]) -> None:
    """Write the interactions of each of `days` whose stored rows are missing or out of date; needs their vocabulary.

    A day after a valid one is carried on from it; the others are merged from all partials, in one pass.
    """
    strengths = lake.settings.features.kind_strengths
    made_with = digest(sorted(strengths.items()), _of_vocabulary(lake.settings))
    _refresh(lake, INTERACTIONS, days, made_with, merge=_interactions_at, carry_on=_next_interactions)


def update_item_sequences(lake: Lake, days: Sequence[date]) -> None:
    """Write the sequences of each of `days` whose stored rows are missing or out of date; needs their vocabulary.

    A day after a valid one is carried on from it; the others are made of the whole log, in one pass.
    """
    asked = lake.settings.features
    made_with = digest(asked.sequence_kinds, asked.sequence_length, sorted(OF_EACH), _of_vocabulary(lake.settings))
    _refresh(lake, ITEM_SEQUENCES, days, made_with, merge=_sequences_at, carry_on=_next_sequences)


def _refresh(
    lake: Lake,
    table: Table,
    days: Sequence[date],
    made_with: str,
    *,
    merge: Callable[[Lake, Sequence[date]], DataFrame],
    carry_on: Callable[[Lake, date], DataFrame],
) -> None:
    """Write the days that are missing or out of date: merged in one pass, or carried on from a valid day before."""
    known = {*days, *(day - ONE_DAY for day in days)}
    valid = valid_days(lake, known, table, made_of=OF_CUSTOMERS, made_with=made_with)
    due = sorted({*days} - valid)
    valid &= valid_days(lake, valid, ITEM_VOCABULARY, made_of=OF_ITEMS, made_with=_of_vocabulary(lake.settings))
    merged = [day for day in due if day - ONE_DAY not in {*due, *valid}]
    if merged:
        lake.replace(merge(lake, merged), into=table, is_key_proven=True, made_with=made_with, as_of=merged)
    for day in due:
        if day not in merged:
            lake.replace(carry_on(lake, day), into=table, is_key_proven=True, made_with=made_with, as_of=[day])


def _interactions_at(lake: Lake, days: Sequence[date]) -> DataFrame:
    partials, vocabulary = lake.read(CUSTOMER_ITEM_DAYS), lake.read(ITEM_VOCABULARY)
    strengths = lake.settings.features.kind_strengths
    return interactions(partials, vocabulary, known_persons(lake, days), days=days, strengths=strengths)


def _next_interactions(lake: Lake, as_of: date) -> DataFrame:
    yesterday = as_of - ONE_DAY
    was, now = (lake.read_as_of(ITEM_VOCABULARY, day).select("item_id") for day in (yesterday, as_of))
    return next_interactions(
        lake.read_as_of(INTERACTIONS, yesterday),
        lake.read(CUSTOMER_ITEM_DAYS),
        lake.read_as_of(ITEM_VOCABULARY, as_of),
        now.exceptAll(was),
        known_persons(lake, [yesterday, as_of]),
        as_of=as_of,
        strengths=lake.settings.features.kind_strengths,
    )


def _sequences_at(lake: Lake, days: Sequence[date], *, events: DataFrame | None = None) -> DataFrame:
    """From all events, or those given."""
    asked = lake.settings.features
    lake.read(CUSTOMER_ITEM_DAYS)  # by whose versions the rows are found to be out of date
    return item_sequences(
        _of_customers(lake) if events is None else events,
        lake.read(ITEM_VOCABULARY),
        known_persons(lake, days),
        days=days,
        kinds=asked.sequence_kinds,
        length=asked.sequence_length,
    )


def _next_sequences(lake: Lake, as_of: date) -> DataFrame:
    yesterday, events = as_of - ONE_DAY, _of_customers(lake)
    was, now = (lake.read_as_of(ITEM_VOCABULARY, day).select("item_id") for day in (yesterday, as_of))
    came_or_left = now.exceptAll(was).unionByName(was.exceptAll(now))
    persons, today = known_persons(lake, [yesterday, as_of]), known_persons(lake, [as_of])
    again = customers_out_of_order(lake.read(CUSTOMER_ITEM_DAYS), came_or_left, as_of=as_of, persons=persons)
    again = again.localCheckpoint()  # used three times
    num_again = again.count()
    of_day = _sequences_at(lake, [as_of], events=events.where(is_on_days("occurred_at", [yesterday])))
    before, length = lake.read_as_of(ITEM_SEQUENCES, yesterday), lake.settings.features.sequence_length
    carried = next_item_sequences(before, of_day, again, as_of=as_of, length=length)
    if not num_again:
        return carried
    # Mostly few: where they are sent to the workers, the log is read and not shuffled.
    ids = ids_of(again, today)
    theirs = events.join(F.broadcast(ids) if num_again <= MOST_SENT else ids, on="customer_id", how="left_semi")
    return carried.unionByName(_sequences_at(lake, [as_of], events=theirs))


def _of_customers(lake: Lake) -> DataFrame:
    """The customers' events, with the day on which each was known to be a bot's."""
    return drop_guests(with_flagged_on(lake.read_as_of(EVENTS), bot_days_to_leave_out(lake)))


def _update_item_indices(lake: Lake, days: Sequence[date]) -> None:
    """Carry the indices on from the last valid day before each, be it yesterday or an earlier one of `days`."""
    made_with, asked = _of_indices(lake.settings), {*days, *(day - ONE_DAY for day in days)}
    valid = valid_days(lake, asked, ITEM_INDICES, made_of=OF_ITEMS, made_with=made_with)
    item_days = lake.read(ITEM_DAYS)
    for day in sorted({*days} - valid):
        since = max((known for known in valid if known < day), default=None)
        rows = next_item_indices(
            _indices_of(lake, since),
            item_days if since is None else _days_with_news(item_days, since, day),
            as_of=day,
            since=since,
            kinds=list(lake.settings.features.kind_strengths),
            min_item_events=lake.settings.recommend.min_item_events,
        )
        lake.replace(rows, into=ITEM_INDICES, is_key_proven=True, made_with=made_with, as_of=day)
        valid.add(day)


def _indices_of(lake: Lake, day: date | None) -> DataFrame:
    return lake.spark.createDataFrame([], ITEM_INDICES.schema) if day is None else lake.read_as_of(ITEM_INDICES, day)


def _days_with_news(item_days: DataFrame, since: date, as_of: date) -> DataFrame:
    """Every version of the days of which more became known from `since` on; bounded by the days of the log."""
    is_new = (F.col("known_on") >= F.lit(since)) & (F.col("known_on") < F.lit(as_of))
    return item_days.where(F.col("day_on").isin(days_of(item_days.where(is_new), "day_on", "day_on")))


def _of_indices(settings: Settings) -> str:
    return digest("category by its day", sorted(settings.features.kind_strengths), settings.recommend.min_item_events)


def _of_vocabulary(settings: Settings) -> str:
    return digest(_of_indices(settings), settings.recommend.max_items, settings.recommend.retire_after_days)
