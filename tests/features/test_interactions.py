from pyspark.sql import functions as F
from shop_events import at, events, on

from clm_spark.features.interactions import interactions, item_sequences, item_vocabulary, with_dense_index

STRENGTHS = {"view": 1.0, "purchase": 5.0}
DAYS = [on("2024-02-01"), on("2024-03-01")]


def see(who, item, day, kind="view", **more):
    return {"customer_id": who, "item_id": item, "occurred_at": at(day), "kind": kind, **more}


def vocabulary_of(log, *, limit=100):
    return item_vocabulary(log, days=DAYS, kinds=list(STRENGTHS), min_item_events=2, max_items=limit)


def indices(vocabulary):
    return {(str(r.as_of), r.item_id): (r.item_index, r.num_events) for r in vocabulary.collect()}


def test_an_index_once_given_stays(spark):
    log = [
        see("a", "pot", "2024-01-03"), see("b", "pot", "2024-01-09"),
        see("a", "pan", "2024-01-02"), see("b", "pan", "2024-01-05"),
        see("a", "cup", "2024-01-05"), see("a", "cup", "2024-02-05"),
        see("a", "one", "2024-01-05"),
        see("a", "add", "2024-01-01"), see("a", "add", "2024-01-02", known_at=at("2024-02-20")),
    ]  # fmt: skip
    assert indices(vocabulary_of(events(spark, *log))) == {
        ("2024-02-01", "pan"): (1, 2),
        ("2024-02-01", "pot"): (2, 2),
        ("2024-03-01", "pan"): (1, 2),
        ("2024-03-01", "pot"): (2, 2),
        ("2024-03-01", "cup"): (3, 2),
        ("2024-03-01", "add"): (4, 2),  # frequent only once its late event was known
    }
    assert set(indices(vocabulary_of(events(spark, *log), limit=1))) == {("2024-02-01", "pan"), ("2024-03-01", "pan")}


def test_interactions_and_sequences_see_only_the_past(spark):
    log = events(
        spark,
        see("a", "pan", "2024-01-02"), see("a", "pan", "2024-01-02", kind="purchase"),
        see("a", "pot", "2024-01-03"), see("b", "pot", "2024-01-03"),
        see("a", "pot", "2024-02-10"), see("b", "pan", "2024-01-20", known_at=at("2024-02-10")),
    )  # fmt: skip
    vocabulary = vocabulary_of(log)
    pairs = interactions(log, vocabulary, days=DAYS, strengths=STRENGTHS)
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
    vocabulary = vocabulary_of(log)
    pairs = interactions(log, vocabulary, linked, days=DAYS, strengths=STRENGTHS).where("customer_id != 'b'")
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
