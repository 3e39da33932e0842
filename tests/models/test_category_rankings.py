"""Rankings of categories: figures against plain Python, tastes that are there found, and thin shops ranked all the same."""

import random
from collections import Counter, defaultdict
from datetime import timedelta

import pytest
from daily_runs import rows
from pyspark.sql import functions as F
from shop_events import at, events, on, vocabulary

from clm_spark.features.customer_item_days import customer_item_days_from_events
from clm_spark.jobs import rank_categories
from clm_spark.models.category_rankings import (
    category_rankings,
    exposure_by_segment,
    purchases_by_segment,
    with_segment,
)
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.settings import RankingSettings
from clm_spark.tables.catalog import (
    CATEGORY_RANKINGS,
    CUSTOMER_FEATURES,
    CUSTOMER_ITEM_DAYS,
    ITEM_VOCABULARY,
    SEGMENTS,
)

AS_OF, HORIZON = on("2024-03-01"), 28
ASKED = RankingSettings(window_days=60, half_life_days=20)


def bought(who, day, item, category="food", kind="purchase", **more):
    return {
        "customer_id": who, "item_id": item, "category": category, "occurred_at": at(str(day)), "kind": kind, **more,
    }  # fmt: skip


def vocabulary_of(log):
    return vocabulary(log.where(F.col("kind").isin("view", "purchase")), AS_OF)


def people(spark, segments):
    """Customers with a segment, or None; all of them a year old."""
    rows = [(who, 365, segment) for who, segment in segments.items()]
    return spark.createDataFrame(rows, "customer_id string, tenure_days int, segment int")


def rankings(spark, log, customers, asked=ASKED, persons=None):
    frame = events(spark, *log)
    partials = customer_item_days_from_events(frame)
    found = purchases_by_segment(partials, customers, vocabulary_of(frame), persons, as_of=AS_OF, settings=asked)
    exposure = exposure_by_segment(customers, settings=asked)
    return category_rankings(found, exposure, as_of=AS_OF, horizon_days=HORIZON, settings=asked).collect()


def pages(found):
    """The items of each category and segment, in order."""
    lists = defaultdict(list)
    for row in sorted(found, key=lambda row: row["rank"]):
        of_page = lists[row.category, row.segment]
        of_page.append(row.item_id)
        assert (row["rank"], row.as_of) == (len(of_page), AS_OF)
    return dict(lists)


def drawn_shop():
    """Two hundred purchases; segment 1 takes to the items of even number."""
    drawn = random.Random(3)
    segments = {f"c{number}": (0, 1, None)[number % 3] for number in range(24)}
    log = []
    for who, segment in segments.items():
        for day in drawn.sample(range(1, 70), 12):
            number = drawn.randrange(8) if segment == 0 else 2 * drawn.randrange(4)
            category = ("food", "toys", None)[number % 3]
            log.append(bought(who, AS_OF - timedelta(days=day), f"i{number}", category))
    return log, segments


@pytest.mark.parametrize("prior_purchases", [None, 4.0], ids=["by moments", "as set"])
def test_against_plain_python(spark, prior_purchases):
    log, segments = drawn_shop()
    asked = ASKED.model_copy(update={"prior_purchases": prior_purchases, "top_k": 2})
    found = rankings(spark, log, people(spark, segments), asked)
    got = {
        (row.category, row.segment, row["rank"]): (row.item_id, row.num_purchases, row.expected_purchases, row.affinity)
        for row in found
    }
    expected = expected_rows(log, segments, prior_purchases=prior_purchases, top_k=2)
    assert len(expected) == 3 * 3 * 2
    assert {key: row[:2] for key, row in got.items()} == {key: row[:2] for key, row in expected.items()}
    for place in (2, 3):
        figures = {key: row[place] for key, row in got.items()}
        # Weights are rounded to ten-thousandths.
        assert figures == pytest.approx({key: row[place] for key, row in expected.items()}, rel=2e-3)
    assert max(row[3] for row in expected.values()) > 1.1


def expected_rows(log, segments, *, prior_purchases, top_k):
    """As the docstrings of the module have it."""
    weights, squares, counts = Counter(), Counter(), Counter()
    category_of = {event["item_id"]: event["category"] for event in log}
    for who, day, item in {(event["customer_id"], event["occurred_at"].date(), event["item_id"]) for event in log}:
        age = (AS_OF - day).days
        if age <= 60:
            weights[item, segments[who]] += 0.5 ** (age / 20)
            squares[item, segments[who]] += 0.25 ** (age / 20)
            counts[item, segments[who]] += 1
    days = sum(0.5 ** (age / 20) for age in range(1, 61))
    exposure = {segment: days * list(segments.values()).count(segment) for segment in (0, 1, None)}
    overall = {item: sum(weights[item, s] for s in (0, 1, None)) for item, _ in weights}
    rows = defaultdict(list)
    for item, weight in overall.items():
        num = sum(counts[item, s] for s in (0, 1, None))
        rows[category_of[item], None].append((item, num, weight / sum(exposure.values()) * HORIZON, 1.0))
    cells = {(item, s): weights[item, s] for item in overall for s in (0, 1)}

    def total(category, *of):
        return sum(w for (item, s), w in cells.items() if category_of[item] == category and s in of)

    def to_expect(item, s):
        category = category_of[item]
        return (cells[item, 0] + cells[item, 1]) * total(category, s) / total(category, 0, 1)

    per_weight = sum(cells.values()) / sum(squares[cell] for cell in cells)
    if prior_purchases is None:
        chi_square = per_weight * sum((w - to_expect(*cell)) ** 2 / to_expect(*cell) for cell, w in cells.items())
        degrees = len(overall) - len({*category_of.values()})
        spread = max(0, (chi_square - degrees) / (per_weight * sum(cells.values())))
    else:
        spread = 1 / prior_purchases
    for (item, s), weight in cells.items():
        level = to_expect(item, s)
        affinity = (1 + spread * per_weight * weight) / (1 + spread * per_weight * level)
        value = level * affinity / exposure[s] * HORIZON
        rows[category_of[item], s].append((item, counts[item, s], value, affinity))
    best = {page: sorted(of, key=lambda row: (-row[2], -overall[row[0]], row[0]))[:top_k] for page, of in rows.items()}
    return {(*page, place + 1): row for page, of in best.items() for place, row in enumerate(of)}


@pytest.mark.long
def test_a_taste_that_is_there_is_found_and_chance_is_not(spark):
    drawn, log = random.Random(8), []
    segments = {f"c{number}": number % 2 for number in range(60)}
    for who, segment in segments.items():
        for day in range(1, 51):
            # Of the shelf all take the low numbers more; of toys each segment has a favourite of its own.
            log.append(bought(who, AS_OF - timedelta(days=day), f"shelf{min(drawn.choices(range(6), k=2))}", "shelf"))
            toy = segment if drawn.random() < 0.6 else 2
            log.append(bought(who, AS_OF - timedelta(days=day), f"toy{toy}", "toys"))
    found = rankings(spark, log, people(spark, segments))
    lists = pages(found)
    assert lists["shelf", 0] == lists["shelf", 1] == lists["shelf", None] == [f"shelf{n}" for n in range(6)]
    assert (lists["toys", 0][:2], lists["toys", 1][:2]) == (["toy0", "toy2"], ["toy1", "toy2"])
    affinity = {(row.item_id, row.segment): row.affinity for row in found}
    assert affinity["toy0", 0] > 1.8
    assert affinity["toy0", 1] < 0.2
    # One purchase a day of each category: over all items they add up to the days to come.
    for category in ("shelf", "toys"):
        for segment in (0, 1, None):
            of_page = [r.expected_purchases for r in found if (r.category, r.segment) == (category, segment)]
            assert sum(of_page) == pytest.approx(HORIZON, rel=0.15)  # nothing was bought on the last ten of sixty days


def test_only_what_was_known_of_known_customers_counts(spark):
    cases = {
        "counts": bought("a", "2024-02-29", "a1"),
        "twice": bought("a", "2024-02-29", "a2"),
        "on the day itself": bought("a", "2024-03-01", "b1"),
        "before the window": bought("a", "2023-12-31", "b2"),
        "known too late": bought("a", "2024-02-20", "b3", known_at=at("2024-03-01")),
        "a guest's": bought(GUEST, "2024-02-20", "b4"),
        "viewed": bought("a", "2024-02-20", "b5", kind="view"),
        "another id of a": bought("phone", "2024-02-20", "a3"),
        "nobody known": bought("stranger", "2024-02-20", "b6"),
    }
    log = [*cases.values(), {**cases["twice"]}]
    log += [bought("a", "2023-12-01", event["item_id"], kind="view") for event in cases.values()]
    persons = spark.createDataFrame([("phone", AS_OF, "a")], "id string, as_of date, person_id string")
    found = rankings(spark, log, people(spark, {"a": 0}), persons=persons)
    assert pages(found) == {("food", None): ["a1", "a2", "a3"], ("food", 0): ["a1", "a2", "a3"]}
    assert {row.num_purchases for row in found} == {1}, "a day with an item counts once"


def test_a_new_customer_had_fewer_days_to_buy(spark):
    customers = spark.createDataFrame(
        [("old", 365, 0), ("new", 3, 1), ("newer", 1, 1)], "customer_id string, tenure_days int, segment int"
    )
    exposure = {row.segment: float(row.exposure) for row in exposure_by_segment(customers, settings=ASKED).collect()}
    assert exposure[0] == pytest.approx(sum(0.5 ** (age / 20) for age in range(1, 61)))
    assert exposure[1] == pytest.approx(sum(0.5 ** (age / 20) for age in (1, 2, 3, 1)))


@pytest.mark.parametrize(
    ("log", "segments", "expected"),
    [
        ([], {"a": 0}, {}),
        ([bought("a", "2024-02-20", "pan", kind="view")], {"a": 0}, {}),
        ([bought("a", "2024-02-20", "pan", None)], {"a": None}, {(None, None): ["pan"]}),
        (
            [bought("a", "2024-02-20", "pan"), bought("b", "2024-02-20", "pan"), bought("b", "2024-02-21", "lid")],
            {"a": None, "b": 0, "c": 1},
            # Segment 1 bought nothing: expected is nothing, in the order of all.
            {("food", None): ["pan", "lid"], ("food", 0): ["lid", "pan"], ("food", 1): ["pan", "lid"]},
        ),
    ],
    ids=["nothing", "only looks", "one item, no category, no segment", "a segment that bought nothing"],
)
def test_thin_shops(spark, log, segments, expected):
    assert pages(rankings(spark, log, people(spark, segments))) == expected


@pytest.mark.long
def test_the_job_ranks_with_and_without_segments_and_leaves_the_same_rows_again(new_lake):
    lake = new_lake()
    log, segments = drawn_shop()
    frame = events(lake.spark, *log)
    lake.replace(vocabulary_of(frame), into=ITEM_VOCABULARY, as_of=AS_OF)
    lake.replace(customer_item_days_from_events(frame), into=CUSTOMER_ITEM_DAYS)
    lake.replace(features_of(people(lake.spark, segments)), into=CUSTOMER_FEATURES, as_of=AS_OF)
    rank_categories.run(lake, lake.settings)
    of_all = rows(lake.read(CATEGORY_RANKINGS), CATEGORY_RANKINGS)
    assert {row[1] for row in of_all} == {None}
    assigned = people(lake.spark, segments).where("segment IS NOT NULL")
    named = assigned.select("customer_id", F.lit(AS_OF).alias("as_of"), "segment", F.lit("v1").alias("model_version"))
    lake.replace(named, into=SEGMENTS, as_of=AS_OF)
    rank_categories.run(lake, lake.settings)
    once = rows(lake.read(CATEGORY_RANKINGS), CATEGORY_RANKINGS)
    assert {row[1] for row in once} == {None, 0, 1}
    assert [row for row in once if row[1] is None] == of_all
    rank_categories.run(lake, lake.settings)
    assert rows(lake.read(CATEGORY_RANKINGS), CATEGORY_RANKINGS) == once


def features_of(customers):
    """Rows of gold.customer_features: what the job reads, and 1 or null for the rest."""
    given = {"customer_id": F.col("customer_id"), "as_of": F.lit(AS_OF), "tenure_days": F.col("tenure_days")}
    return customers.select(
        *(
            given.get(field.name, F.lit(None if field.nullable else 1)).cast(field.dataType).alias(field.name)
            for field in CUSTOMER_FEATURES.schema.fields
        )
    )


def test_customers_without_segments_are_in_none(spark):
    customers = spark.createDataFrame([("a", 3)], "customer_id string, tenure_days int")
    assert [row.segment for row in with_segment(customers, None).collect()] == [None]
