"""Neighbours of items: counted by hand, against plain Python, and written twice by the job."""

import random
from collections import Counter, defaultdict
from datetime import timedelta
from itertools import permutations
from math import sqrt

import pytest
from daily_runs import rows
from pyspark.sql import functions as F
from shop_events import at, events, on, vocabulary

from clm_spark.events.bots import with_flagged_on
from clm_spark.features.customer_item_days import customer_item_days_from_events
from clm_spark.features.neighbours import baskets_from_days, item_neighbours
from clm_spark.jobs import build_neighbours
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, ITEM_NEIGHBOURS, ITEM_VOCABULARY

AS_OF = on("2024-03-01")
KINDS = {"view": "co_viewed", "purchase": "co_bought"}


def took(who, day, *items, kind="purchase", **more):
    """Events of a customer's day, one an item."""
    return [{"customer_id": who, "item_id": item, "occurred_at": at(str(day)), "kind": kind, **more} for item in items]


def vocabulary_of(log):
    return vocabulary(log.where(F.col("kind").isin(*KINDS)), AS_OF)


def neighbours(
    spark, log, *, top_k=9, min_customers=1, max_items=100, window_days=60, persons=None, flags=None, order="cosine"
):
    """Of events, flagged or not."""
    log = events(spark, *log)
    vocabulary = vocabulary_of(log)
    partials = customer_item_days_from_events(log if flags is None else with_flagged_on(log, flags))
    baskets = baskets_from_days(
        partials, vocabulary, persons, as_of=AS_OF, window_days=window_days, max_items=max_items
    )
    return item_neighbours(baskets, vocabulary, top_k=top_k, min_customers=min_customers, order=order)


def listed(found):
    """For each item and relation its neighbours in order, with their days and customers."""
    lists = defaultdict(list)
    for row in sorted(found.collect(), key=lambda row: row["rank"]):
        of_item = lists[row.item_id, row.relation]
        of_item.append((row.neighbour_item_id, row.num_days, row.num_customers))
        assert row["rank"] == len(of_item)
        assert row.as_of == AS_OF
    return dict(lists)


def test_figures_of_a_pair(spark):
    log = [
        *took("a", "2024-02-01", "pan", "lid"), *took("a", "2024-02-02", "pan", "lid", "cup"),
        *took("b", "2024-02-01", "pan", "lid"), *took("b", "2024-02-05", "pan"),
        *took("c", "2024-02-01", "cup"), *took("c", "2024-02-02", "rug"), *took("c", "2024-02-03", "rug", "cup"),
        *took("d", "2024-02-03", "pan", "rug", kind="view"),
    ]  # fmt: skip
    found = {(row.item_id, row.neighbour_item_id, row.relation): row for row in neighbours(spark, log).collect()}
    assert {key[:2] for key in found if key[2] == "co_viewed"} == {("pan", "rug"), ("rug", "pan")}
    one, other = found["pan", "lid", "co_bought"], found["lid", "pan", "co_bought"]
    assert (one.num_days, one.num_customers) == (other.num_days, other.num_customers) == (3, 2)
    assert (one.support_share, one.confidence_share, other.confidence_share) == (3 / 7, 3 / 4, 1.0)
    assert one.cosine == other.cosine == pytest.approx(3 / sqrt(4 * 3))
    assert one.lift == other.lift == pytest.approx((3 / 7) / (4 / 7 * 3 / 7))
    assert found["pan", "cup", "co_bought"].lift == pytest.approx((1 / 7) / (4 / 7 * 3 / 7))


def test_a_pair_of_few_customers_is_left_out_however_often_they_come(spark):
    log = [
        *(each for day in range(1, 21) for each in took("a", f"2024-02-{day:02d}", "pan", "rug")),
        *(each for who in "abc" for each in took(who, "2024-02-25", "pan", "lid")),
    ]  # fmt: skip
    assert listed(neighbours(spark, log, min_customers=2)) == {
        ("pan", "co_bought"): [("lid", 3, 3)],
        ("lid", "co_bought"): [("pan", 3, 3)],
    }
    assert listed(neighbours(spark, log))["pan", "co_bought"] == [("rug", 20, 1), ("lid", 3, 3)]


def test_only_what_was_known_of_customers_in_the_window_counts(spark):
    cases = {
        "counts": took("a", "2024-02-29", "a1", "a2"),
        "on the day itself": took("b", "2024-03-01", "b1", "b2"),
        "before the window": took("c", "2024-02-19", "c1", "c2"),
        "first day of it": took("d", "2024-02-20", "d1", "d2"),
        "known too late": [*took("e", "2024-02-21", "e1"), *took("e", "2024-02-21", "e2", known_at=at("2024-03-01"))],
        "known late": [*took("f", "2024-02-21", "f1"), *took("f", "2024-02-21", "f2", known_at=at("2024-02-25"))],
        "a guest's": took(GUEST, "2024-02-21", "g1", "g2"),
        "a bot's": took("h", "2024-02-21", "h1", "h2"),
        "of two ids of a person": [*took("phone", "2024-02-21", "i1"), *took("login", "2024-02-21", "i2")],
        "of two days": [*took("j", "2024-02-21", "j1"), *took("j", "2024-02-22", "j2")],
        "put into a cart": took("k", "2024-02-21", "k1", "k2", kind="cart"),
    }  # fmt: skip
    log = [event for case in cases.values() for event in case]
    # Each item is known early enough to have an index.
    log += [event for item in {each["item_id"] for each in log} for event in took(f"of {item}", "2024-01-02", item)]
    flags = spark.createDataFrame(
        [("h", on("2024-02-21"), on("2024-02-22"))], "customer_id string, day_on date, known_on date"
    )
    persons = spark.createDataFrame([("phone", AS_OF, "login")], "id string, as_of date, person_id string")
    found = listed(neighbours(spark, log, window_days=10, flags=flags, persons=persons))
    assert {item for item, _ in found} == {f"{case}{side}" for case in "adfi" for side in "12"}


def test_a_long_day_is_sampled_alike_in_every_run(spark):
    log = [
        event
        for who in "abcdef"
        for event in took(who, "2024-02-01", *(f"i{number}" for number in range(30)))
    ]  # fmt: skip
    frame = events(spark, *log)
    vocabulary, partials = vocabulary_of(frame), customer_item_days_from_events(frame)
    once, again = (
        baskets_from_days(each, vocabulary, as_of=AS_OF, window_days=60, max_items=10).collect()
        for each in (partials, partials.repartition(7))
    )
    assert sorted(once) == sorted(again)
    baskets = [basket for row in once for basket in row.baskets]
    assert [len(set(items)) for items in baskets] == [10] * 6
    assert all(items == sorted(items) for items in baskets)
    assert len(set(map(tuple, baskets))) > 1, "each day draws its own"
    assert len({item for items in baskets for item in items}) > 20, "no item is always left out"


def test_against_plain_python(spark):
    drawn, days = random.Random(11), [AS_OF - timedelta(days=back) for back in range(1, 40)]
    names = [f"i{number:02d}" for number in range(15)]
    log = [
        event
        for who in range(25)
        for day in drawn.sample(days, 6)
        for kind in KINDS
        for event in took(f"c{who}", day, *drawn.sample(names, drawn.randint(1, 6)), kind=kind)
    ]
    found = neighbours(spark, log, top_k=4, min_customers=3)
    got = {
        (row.item_id, row.relation, row["rank"]): (row.neighbour_item_id, row.num_days, row.num_customers, row.cosine)
        for row in found.collect()
    }
    expected = expected_lists(log, top_k=4, min_customers=3, index=index_of(spark, log))
    assert len(expected) > 80
    assert got == {key: (*row[:3], pytest.approx(row[3])) for key, row in expected.items()}


def index_of(spark, log):
    return {row.item_id: row.item_index for row in vocabulary_of(events(spark, *log)).collect()}


def expected_lists(log, *, top_k, min_customers, index):
    """As one would write it down: sets of items by day, and every ordered pair of a set."""
    baskets = defaultdict(set)
    for event in log:
        baskets[KINDS[event["kind"]], event["customer_id"], event["occurred_at"]].add(event["item_id"])
    of_items, of_pairs, customers = Counter(), Counter(), defaultdict(set)
    for (relation, who, _), items in baskets.items():
        of_items.update((relation, item) for item in items)
        for pair in permutations(items, 2):
            of_pairs[relation, *pair] += 1
            customers[relation, *pair].add(who)
    lists = defaultdict(list)
    for (relation, item, other), num in of_pairs.items():
        num_customers = len(customers[relation, item, other])
        if num_customers >= min_customers:
            cosine = num / sqrt(of_items[relation, item] * of_items[relation, other])
            lists[item, relation].append((other, num, num_customers, cosine))
    best = {key: sorted(of, key=lambda row: (-row[3], -row[1], index[row[0]]))[:top_k] for key, of in lists.items()}
    return {(*key, place + 1): row for key, of in best.items() for place, row in enumerate(of)}


def test_the_job_writes_a_day_and_leaves_the_same_rows_again(new_lake):
    lake = new_lake(neighbours={"min_customers": 1})
    frame = events(lake.spark, *took("a", "2024-02-01", "pan", "lid"), *took("b", "2024-02-02", "pan"))
    lake.replace(vocabulary_of(frame), into=ITEM_VOCABULARY, as_of=AS_OF)
    lake.replace(customer_item_days_from_events(frame), into=CUSTOMER_ITEM_DAYS)
    build_neighbours.run(lake, lake.settings)
    once = rows(lake.read(ITEM_NEIGHBOURS), ITEM_NEIGHBOURS)
    assert [(row[0], row[4]) for row in once] == [("lid", "pan"), ("pan", "lid")]
    build_neighbours.run(lake, lake.settings)
    assert rows(lake.read(ITEM_NEIGHBOURS), ITEM_NEIGHBOURS) == once


@pytest.mark.parametrize(
    "log",
    [[], took("a", "2024-02-01", "pan"), took("a", "2024-02-01", "pan", "lid", kind="refund")],
    ids=["nothing", "one item", "nothing bought or viewed"],
)
def test_thin_days_have_no_neighbours(spark, log):
    assert neighbours(spark, log).collect() == []
