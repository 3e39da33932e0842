"""Pairs carried on from the day before equal those merged from all days."""

import random
from datetime import timedelta

import pytest
from pyspark.sql import functions as F
from shop_events import at, events
from test_windows import MORNINGS, history

from clm_spark.events.bots import with_flagged_on
from clm_spark.features.customer_item_days import customer_item_days_from_events
from clm_spark.features.items import pair_features
from clm_spark.features.pairs import PAIR, days_of_pairs, next_pair_features
from clm_spark.tables import catalog as t

ONE_DAY = timedelta(days=1)


def by_pair(frame):
    return {tuple(row[name] for name in PAIR): row for row in frame.select(t.PAIR_FEATURES.schema.names).collect()}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("has_persons", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_step_of_a_day_equals_the_merge_of_all_days(spark, has_persons):
    drawn = random.Random(11)
    log = [
        event | {"item_id": drawn.choice("abcde"), "category": drawn.choice(["kitchen", "table", None])}
        for event in history(drawn)
    ]
    for morning in MORNINGS:  # a pair that falls silent for good this morning, and one that comes back
        for item, days in (("silent", 366), ("back", 400), ("back", 1)):
            when = at(str(morning - timedelta(days=days)), "00:00")
            log.append({"customer_id": "own", "item_id": f"{item} {morning}", "occurred_at": when})
    flagged = [
        (event["customer_id"], event["occurred_at"].date(), MORNINGS[n % 2] - ONE_DAY)
        for n, event in enumerate(drawn.sample(log, 9))
    ]
    flags = spark.createDataFrame(flagged, "customer_id string, day_on date, known_on date")
    partials = customer_item_days_from_events(with_flagged_on(events(spark, *log), flags)).localCheckpoint()
    everything = [day for morning in MORNINGS for day in (morning - ONE_DAY, morning)]
    persons = None
    if has_persons:  # c01 is linked to c00 on the day before the last morning, and c03 to c02 long before
        linked = [("c03", day, "c02") for day in everything] + [("c01", MORNINGS[-1], "c00")]
        persons = spark.createDataFrame(linked, "id string, as_of date, person_id string")
    merged = pair_features(partials, days=everything, persons=persons).localCheckpoint()

    num_again = 0
    for morning in MORNINGS:
        days = [morning - ONE_DAY, morning]
        two, today = (
            None if persons is None else persons.where(F.col("as_of").isin(known)) for known in (days, [morning])
        )
        before = merged.where(F.col("as_of") == days[0]).drop("as_of")
        carried, again = next_pair_features(before, partials, as_of=morning, persons=two)
        expected, got = by_pair(merged.where(F.col("as_of") == morning)), by_pair(carried)
        again = again.localCheckpoint()
        left = {tuple(row) for row in again.collect()}
        assert not left & set(got)
        assert [pair for pair in got if got[pair] != expected.get(pair)] == []
        remade = by_pair(pair_features(days_of_pairs(partials, again, today), days=[morning], persons=today))
        assert got | remade == expected
        was_there = {tuple(row) for row in before.select(*PAIR).collect()}
        assert ("own", f"silent {morning}") in was_there - set(expected)
        assert ("own", f"back {morning}") in left - was_there
        assert expected["own", f"back {morning}"].first_seen_days == 400
        num_again += len(left)
        assert len(got) > len(left) > 0, "most are carried on, some cannot be"
    assert num_again > 20
