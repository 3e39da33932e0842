import random
from datetime import timedelta
from typing import get_args

import pytest
from changing_shop import MORNINGS as SHOP_MORNINGS
from changing_shop import ChangingShop, steps
from daily_runs import rows
from oracle import compare
from pyspark.sql import functions as F
from shop_events import at, events, on
from test_windows import MORNINGS, history

from clm_spark.events.bots import with_flagged_on
from clm_spark.features.customer_item_days import customer_item_days_from_events
from clm_spark.features.interactions import interactions, next_interactions, with_dense_index
from clm_spark.features.sequences import item_sequences
from clm_spark.settings.features import ItemKind
from clm_spark.tables.catalog import INTERACTIONS
from clm_spark.tables.measures import NUM_OF_KIND

STRENGTHS = {"view": 1.0, "purchase": 5.0}
DAYS = [on("2024-02-01"), on("2024-03-01")]


def see(who, item, day, kind="view", **more):
    return {"customer_id": who, "item_id": item, "occurred_at": at(day), "kind": kind, **more}


def vocabulary_of(spark, *items):
    """These items, numbered from 1, on both mornings."""
    rows = [(item, day, n) for n, item in enumerate(items, 1) for day in DAYS]
    return spark.createDataFrame(rows, "item_id string, as_of date, item_index int")


def test_interactions_and_sequences_see_only_the_past(spark):
    log = events(
        spark,
        see("a", "pan", "2024-01-02"), see("a", "pan", "2024-01-02", kind="purchase"),
        see("a", "pot", "2024-01-03"), see("b", "pot", "2024-01-03"),
        see("a", "pot", "2024-02-10"), see("b", "pan", "2024-01-20", known_at=at("2024-02-10")),
    )  # fmt: skip
    vocabulary = vocabulary_of(spark, "pan", "pot")
    pairs = interactions(customer_item_days_from_events(log), vocabulary, days=DAYS, strengths=STRENGTHS)
    got = {(str(r.as_of), r.customer_id, r.item_id): (r.num_events, r.strength) for r in pairs.collect()}
    assert got == {
        ("2024-02-01", "a", "pan"): (2, 6.0),
        ("2024-02-01", "a", "pot"): (1, 1.0),
        ("2024-02-01", "b", "pot"): (1, 1.0),
        ("2024-03-01", "a", "pan"): (2, 6.0),
        ("2024-03-01", "a", "pot"): (2, 2.0),
        ("2024-03-01", "b", "pot"): (1, 1.0),
        ("2024-03-01", "b", "pan"): (1, 1.0),
    }
    sequences = item_sequences(log, vocabulary, days=DAYS, kinds=list(STRENGTHS), length=2)
    got = {(str(r.as_of), r.customer_id): list(r.item_indices) for r in sequences.collect()}
    assert got == {  # the last two; pan is 1, pot is 2
        ("2024-02-01", "a"): [1, 2],
        ("2024-02-01", "b"): [2],
        ("2024-03-01", "a"): [2, 2],
        ("2024-03-01", "b"): [2, 1],
    }


def test_items_seen_on_a_device_count_for_its_customer_once_linked(spark):
    log = events(
        spark,
        see("phone", "pan", "2024-01-02"), see("login", "pan", "2024-01-03"), see("phone", "pot", "2024-01-04"),
        see("b", "pot", "2024-01-05"),
    )  # fmt: skip
    linked = spark.createDataFrame([("phone", DAYS[1], "login")], "id string, as_of date, person_id string")
    vocabulary = vocabulary_of(spark, "pan", "pot")
    pairs = interactions(customer_item_days_from_events(log), vocabulary, linked, days=DAYS, strengths=STRENGTHS).where(
        "customer_id != 'b'"
    )
    assert {(str(r.as_of), r.customer_id, r.item_id): r.num_events for r in pairs.collect()} == {
        ("2024-02-01", "phone", "pan"): 1,
        ("2024-02-01", "phone", "pot"): 1,
        ("2024-02-01", "login", "pan"): 1,
        ("2024-03-01", "login", "pan"): 2,
        ("2024-03-01", "login", "pot"): 1,
    }
    sequences = item_sequences(log, vocabulary, linked, days=DAYS, kinds=list(STRENGTHS), length=9)
    got = {(str(r.as_of), r.customer_id): list(r.item_indices) for r in sequences.where("customer_id != 'b'").collect()}
    assert got == {
        ("2024-02-01", "phone"): [1, 2],
        ("2024-02-01", "login"): [1],
        ("2024-03-01", "login"): [1, 1, 2],
    }


def test_the_dense_index_counts_through_and_ignores_partitions(spark):
    many = spark.range(3000).select(F.concat(F.lit("c"), "id").alias("customer_id"), F.lit(on("2024-02-01")).alias("as_of"))  # fmt: skip
    once, again = with_dense_index(many.repartition(1)), with_dense_index(many.repartition(5))
    assert sorted(r.customer_index for r in once.collect()) == list(range(3000))
    assert once.exceptAll(again).count() == 0


# From the whole log, as one would write it for DuckDB. A row of `flags` is a bot's day; `persons` are those of that day.
FROM_EVENTS = """
WITH known AS (
  SELECT coalesce(person_id, log.customer_id) AS customer_id, item_id, kind, occurred_at FROM log
  LEFT JOIN (VALUES {flags}) f (who, day_on, flagged_on) ON who = log.customer_id AND day_on = occurred_at::DATE
  LEFT JOIN (VALUES {persons}) p (id, person_id) ON id = log.customer_id
  WHERE greatest(occurred_at, known_at) < DATE '{as_of}' AND coalesce(f.flagged_on >= DATE '{as_of}', true)
    AND log.customer_id IS NOT NULL AND item_id IN ('pan', 'pot', 'jar') AND kind IN ('view', 'click', 'purchase', 'refund')
), pairs AS (
  SELECT customer_id, item_id, CASE item_id WHEN 'pan' THEN 1 WHEN 'pot' THEN 2 ELSE 3 END AS item_index,
    count(*) AS num_events, max(occurred_at)::TIMESTAMP AS last_at,
    sum(CASE kind WHEN 'view' THEN 0.5 WHEN 'click' THEN 0.7 WHEN 'purchase' THEN 5 ELSE 0.1 END)::DOUBLE AS strength
  FROM known GROUP BY ALL)
SELECT *, (dense_rank() OVER (ORDER BY customer_id) - 1)::INT AS customer_index FROM pairs"""


@pytest.mark.long
@pytest.mark.parametrize("stitches", [True, False])
def test_carrying_on_gives_what_all_partials_give(spark, stitches):
    shop, kinds = ChangingShop(spark), {"view": 0.3, "cart": 0.7, "refund": 0.1}
    partials, persons = shop.customer_item_days, shop.persons if stitches else None
    whole = interactions(partials, shop.vocabulary, persons, days=SHOP_MORNINGS, strengths=kinds).localCheckpoint()
    for yesterday, morning in steps():
        before = whole.where(f"as_of = '{yesterday}'")

        def carried_from(before, yesterday=yesterday, morning=morning):
            return next_interactions(
                before,
                partials,
                shop.vocabulary.where(f"as_of = '{morning}'"),
                shop.items_of(morning).exceptAll(shop.items_of(yesterday)),
                shop.persons_of(yesterday, morning) if stitches else None,
                as_of=morning,
                strengths=kinds,
            )

        got = rows(carried_from(before), INTERACTIONS)
        assert got == rows(whole.where(f"as_of = '{morning}'"), INTERACTIONS)
        marked = carried_from(before.withColumn("strength", F.lit(1000.0)))
        num_carried = marked.where("strength = 1000").count()
        assert 20 < num_carried < len(got) - 3, "most are carried on, some are not"


@pytest.mark.long
def test_partials_give_what_the_whole_log_gives(spark):
    drawn = random.Random(3)
    log = [
        event | {"item_id": drawn.choice(["pan", "pot", "cup", "jar", None]), "customer_id": who}
        for event in history(drawn)
        for who in [None if drawn.random() < 0.1 else event["customer_id"]]
    ]
    mornings = MORNINGS[-2:]
    of_bots = {(e["customer_id"], e["occurred_at"].date()) for e in drawn.sample(log, 40) if e["customer_id"]}
    flags = [(who, day, mornings[n % 2] - timedelta(days=n % 3)) for n, (who, day) in enumerate(sorted(of_bots))]
    flagged = with_flagged_on(
        events(spark, *log), spark.createDataFrame(flags, "customer_id string, day_on date, known_on date")
    )
    stitched = [("c03", "c07"), ("c04", "c07"), ("c05", "visitor")]
    persons = [(who, day, person) for who, person in stitched for day in mornings]
    items = [(name, day, n) for n, name in enumerate(["pan", "pot", "jar"], 1) for day in mornings]
    made = interactions(
        customer_item_days_from_events(flagged),
        spark.createDataFrame(items, "item_id string, as_of date, item_index int"),
        spark.createDataFrame(persons, "id string, as_of date, person_id string"),
        days=mornings,
        strengths={"view": 0.5, "click": 0.7, "purchase": 5.0, "refund": 0.1},
    ).collect()
    told = {
        "flags": ", ".join(f"('{who}', DATE '{day}', DATE '{known}')" for who, day, known in flags),
        "persons": ", ".join(map(str, stitched)),
    }
    for day in mornings:
        ours = [row for row in made if row.as_of == day]
        assert len(ours) > 60
        sql = FROM_EVENTS.format(as_of=day, **told)
        # A dense index need only be dense: it counts within buckets of hashes, not by name.
        compare(flagged.toArrow(), ours, sql, INTERACTIONS, without={"customer_index"})
        numbers = {row.customer_id: row.customer_index for row in ours}
        assert sorted(numbers.values()) == [*range(len(numbers))]


def test_every_kind_with_a_strength_is_counted():
    assert set(NUM_OF_KIND) == {*get_args(ItemKind)}
