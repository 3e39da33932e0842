"""What each step makes of an older table's rows."""

from datetime import date

from clm_spark.tables.migrations import known_for_learned, lists_as_served, value_for_probability

MONDAY, TUESDAY = date(2024, 2, 26), date(2024, 2, 27)


def test_the_lists_that_were_served_stay(spark):
    lists = spark.createDataFrame(
        [  # customer, as_of, recommender, rank: served on Monday by the transformer, on Tuesday by ALS
            ("a", MONDAY, "popularity", 1), ("a", MONDAY, "als", 1), ("a", MONDAY, "transformer", 1),
            ("b", MONDAY, "als", 1), ("a", TUESDAY, "popularity", 1), ("a", TUESDAY, "als", 2),
        ],
        "customer_id string, as_of date, recommender string, rank int",
    )  # fmt: skip
    served = lists_as_served.change(lists).select("customer_id", "as_of", "source", "rank").collect()
    assert sorted(map(tuple, served)) == [("a", MONDAY, "transformer", 1), ("a", TUESDAY, "als", 2)]


def test_scores_and_ledger_keep_their_values(spark):
    scores = spark.createDataFrame([("a", 0.25, 3)], "customer_id string, probability double, decile int")
    (row,) = value_for_probability.change(scores).collect()
    assert row.asDict() == {
        "customer_id": "a", "value": 0.25, "decile": 3, "unit": "probability", "is_fallback": False, "model": "gbt",
    }  # fmt: skip
    batches = spark.createDataFrame([(MONDAY, TUESDAY)], "first_learned_at date, last_learned_at date")
    (batch,) = known_for_learned.change(batches).collect()
    assert batch.asDict() == {"first_known_at": MONDAY, "last_known_at": TUESDAY}
