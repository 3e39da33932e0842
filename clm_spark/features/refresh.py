"""Incremental refresh of the features of customers and items.

Those of customers and of pairs are carried on from the day before; those of items are merged from all partials, those of
tastes from the pairs.
"""

import logging
from collections.abc import Collection, Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import known_persons
from clm_spark.events.ledger import days_of
from clm_spark.features.customers import (
    ONE_DAY,
    customer_features,
    days_that_move,
    ids_of,
    next_customer_features,
)
from clm_spark.features.items import customer_categories, customer_tastes, item_features, pair_features
from clm_spark.features.pairs import days_of_pairs, next_pair_features
from clm_spark.features.partials import digest
from clm_spark.session import persisted
from clm_spark.tables.catalog import (
    CUSTOMER_CATEGORIES,
    CUSTOMER_DAYS,
    CUSTOMER_FEATURES,
    CUSTOMER_ITEM_DAYS,
    CUSTOMER_TASTES,
    IDENTITIES,
    ITEM_DAYS,
    ITEM_FEATURES,
    PAIR_FEATURES,
)
from clm_spark.tables.commits import days_changed, last_write_of
from clm_spark.tables.contract import Table
from clm_spark.tables.customer_features import FEATURES
from clm_spark.tables.item_features import CATEGORY_FIGURES, NUM_TOP_CATEGORIES, OF_ITEMS, OF_PAIRS, TASTES
from clm_spark.tables.lake import Lake

# After a change of a declaration every day is recomputed.
DECLARED = {
    CUSTOMER_FEATURES.title: digest(FEATURES),
    ITEM_FEATURES.title: digest(OF_ITEMS),
    PAIR_FEATURES.title: digest(OF_PAIRS),
    CUSTOMER_CATEGORIES.title: digest(OF_PAIRS, CATEGORY_FIGURES),
    CUSTOMER_TASTES.title: digest(OF_PAIRS, CATEGORY_FIGURES, TASTES, NUM_TOP_CATEGORIES),
}


OF_ITEM_DAYS = (ITEM_DAYS,)


OF_PAIR_DAYS = (CUSTOMER_ITEM_DAYS, IDENTITIES)


OF_CUSTOMER_DAYS = (CUSTOMER_DAYS, IDENTITIES)


log = logging.getLogger(__name__)


def update_customer_features(lake: Lake, days: Sequence[date]) -> None:
    """Write the features of each of `days` whose stored rows are missing or out of date.

    A day after a valid one is carried on from it; the others are merged from all their partials, in one pass.
    """
    asked = {*days, *(day - ONE_DAY for day in days)}
    valid = _valid_days(lake, asked, CUSTOMER_FEATURES, made_of=OF_CUSTOMER_DAYS)
    due = sorted({*days} - valid)
    next_days = [day for day in due if day - ONE_DAY in {*due, *valid}]
    merged = [day for day in due if day not in next_days]
    if merged:
        features = customer_features(lake.read(CUSTOMER_DAYS), days=merged, persons=known_persons(lake, merged))
        _write(lake, CUSTOMER_FEATURES, features, merged)
    for day in next_days:
        _carry_on(lake, day)
    _log_if_up_to_date(due)


def update_item_features(lake: Lake, days: Sequence[date]) -> None:
    """Write the features of items on each of `days` whose stored rows are missing or out of date.

    Always merged: counts of distinct customers do not add up over days.
    """
    due = sorted({*days} - _valid_days(lake, days, ITEM_FEATURES, made_of=OF_ITEM_DAYS))
    if due:
        _write(lake, ITEM_FEATURES, item_features(lake.read(ITEM_DAYS), days=due), due)
    _log_if_up_to_date(due)


def update_pair_features(lake: Lake, days: Sequence[date]) -> None:
    """Write the features of pairs on each of `days`, and from them categories and tastes, where any is out of date.

    As with customers, a day after a valid one is carried on from it.
    """
    tables = (PAIR_FEATURES, CUSTOMER_CATEGORIES, CUSTOMER_TASTES)
    due = sorted(set[date]().union(*({*days} - _valid_days(lake, days, t, made_of=OF_PAIR_DAYS) for t in tables)))
    yesterdays = {day - ONE_DAY for day in due}
    valid = _valid_days(lake, yesterdays - {*due}, PAIR_FEATURES, made_of=OF_PAIR_DAYS)
    merged = [day for day in due if day - ONE_DAY not in {*due, *valid}]
    if merged:
        persons = known_persons(lake, merged)
        _write(lake, PAIR_FEATURES, pair_features(lake.read(CUSTOMER_ITEM_DAYS), days=merged, persons=persons), merged)
    for day in due:
        if day not in merged:
            _carry_pairs_on(lake, day)
    if due:
        pairs = lake.read(PAIR_FEATURES).where(F.col("as_of").isin(due))
        with persisted(customer_categories(pairs)) as categories:
            _write(lake, CUSTOMER_CATEGORIES, categories, due)
            _write(lake, CUSTOMER_TASTES, customer_tastes(categories), due)
    _log_if_up_to_date(due)


def _write(lake: Lake, table: Table, features: DataFrame, days: Sequence[date]) -> None:
    """Write features, whose key is proven: they are grouped by it."""
    lake.replace(features, into=table, is_key_proven=True, made_with=DECLARED[table.title], as_of=days)


def _log_if_up_to_date(due: Sequence[date]) -> None:
    if not due:
        log.info("the features are up to date")


def _carry_on(lake: Lake, as_of: date) -> None:
    yesterday = as_of - ONE_DAY
    partials, persons = lake.read(CUSTOMER_DAYS), known_persons(lake, [yesterday, as_of])
    # Bounded by the days of the log.
    of_yesterday = partials.where((F.col("known_on") == F.lit(yesterday)) & (F.col("day_on") < F.lit(yesterday)))
    moving = days_that_move(as_of, corrected=days_of(of_yesterday, "day_on", "day_on"))
    before = lake.read_as_of(CUSTOMER_FEATURES, yesterday).drop("as_of")
    of_days = partials.where(F.col("day_on").isin(moving))
    carried, beyond = next_customer_features(before, of_days, as_of=as_of, persons=persons)
    with persisted(beyond) as customers:
        rows = carried
        if not customers.isEmpty():
            today = known_persons(lake, [as_of])
            theirs = partials.join(ids_of(customers, today), on="customer_id", how="left_semi")
            rows = rows.unionByName(customer_features(theirs, days=[as_of], persons=today))
        _write(lake, CUSTOMER_FEATURES, rows, [as_of])


def _carry_pairs_on(lake: Lake, as_of: date) -> None:
    yesterday = as_of - ONE_DAY
    partials, persons = lake.read(CUSTOMER_ITEM_DAYS), known_persons(lake, [yesterday, as_of])
    before = lake.read_as_of(PAIR_FEATURES, yesterday).drop("as_of")
    carried, again = next_pair_features(before, partials, as_of=as_of, persons=persons)
    with persisted(again) as pairs:
        today = known_persons(lake, [as_of])
        merged = pair_features(days_of_pairs(partials, pairs, today), days=[as_of], persons=today)
        _write(lake, PAIR_FEATURES, carried.unionByName(merged), [as_of])


def _valid_days(lake: Lake, days: Collection[date], table: Table, *, made_of: Sequence[Table]) -> set[date]:
    return valid_days(lake, days, table, made_of=made_of, made_with=DECLARED[table.title])


def valid_days(
    lake: Lake, days: Collection[date], table: Table, *, made_of: Sequence[Table], made_with: str
) -> set[date]:
    """The days whose stored rows were made with the same, and are still made of everything that the day could know."""
    commits = {each.title: lake.commits(each) for each in (table, *made_of)}

    def is_valid(day: date) -> bool:
        last = last_write_of(commits[table.title], column="as_of", day=day)
        if last is None or last.mark.get("made_with") != made_with or last.values("as_of") is None:
            return False
        for source in (each.title for each in made_of):
            seen = last.inputs.get(source)
            if seen is None:
                if commits[source]:
                    return False
                continue
            changed = days_changed(commits[source], since=seen, column="known_on")
            if changed is None or any(known_on < day for known_on in changed):
                return False
        return True

    return {day for day in days if is_valid(day)}
