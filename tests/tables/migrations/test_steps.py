"""What each step makes of an older table's rows."""

from datetime import date

from clm_spark.tables.migrations import known_for_learned, lists_as_served, metrics_by_version, value_for_probability

MONDAY, TUESDAY = date(2024, 2, 26), date(2024, 2, 27)


def test_every_customer_keeps_the_list_that_was_served(spark):
    lists = spark.createDataFrame(
        [  # is_served: on Monday the transformer knew one customer and ALS two, on Tuesday there was no transformer
            ("known to both", MONDAY, "popularity", 1, False), ("known to both", MONDAY, "als", 1, False),
            ("known to both", MONDAY, "transformer", 1, True), ("known to both", MONDAY, "transformer", 2, True),
            ("known to als", MONDAY, "popularity", 1, False), ("known to als", MONDAY, "als", 1, True),
            ("new", MONDAY, "popularity", 1, True), ("new", MONDAY, "popularity", 2, True),
            ("known to both", TUESDAY, "popularity", 1, False), ("known to both", TUESDAY, "als", 2, True),
        ],
        "customer_id string, as_of date, recommender string, rank int, is_served boolean",
    )  # fmt: skip
    expected = lists.where("is_served").withColumnRenamed("recommender", "source")
    assert sorted(lists_as_served.change(lists).collect()) == sorted(expected.collect())


def test_scores_and_ledger_keep_their_values(spark):
    scores = spark.createDataFrame([("a", 0.25, 3)], "customer_id string, probability double, decile int")
    (row,) = value_for_probability.change(scores).collect()
    assert row.asDict() == {
        "customer_id": "a", "value": 0.25, "decile": 3, "unit": "probability", "is_fallback": False, "model": "gbt",
    }  # fmt: skip
    batches = spark.createDataFrame([(MONDAY, TUESDAY)], "first_learned_at date, last_learned_at date")
    (batch,) = known_for_learned.change(batches).collect()
    assert batch.asDict() == {"first_known_at": MONDAY, "last_known_at": TUESDAY}


def test_figures_of_before_belong_to_an_unrecorded_comparison(spark):
    metrics = spark.createDataFrame(
        [("churn", "gbt", "auc", 0.75, "v1")],
        "task string, model string, metric string, value double, model_version string",
    )
    (metric,) = metrics_by_version.with_election(metrics).collect()
    assert metric.asDict() == {
        "task": "churn", "model": "gbt", "metric": "auc", "value": 0.75, "model_version": "v1",
        "is_incumbent": False, "is_champion": False, "comparison": "unrecorded",
    }  # fmt: skip
    deciles = spark.createDataFrame(
        [("churn", "gbt", 1, 40)], "score string, model string, decile int, num_customers bigint"
    )
    (decile,) = metrics_by_version.with_version(deciles).collect()
    assert decile.asDict() == {
        "score": "churn", "model": "gbt", "decile": 1, "num_customers": 40, "model_version": "unrecorded",
    }  # fmt: skip
