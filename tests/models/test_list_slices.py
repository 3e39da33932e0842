from datetime import date

from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.evaluation.bootstrap import intervals
from clm_spark.evaluation.ranking import customer_ranking
from clm_spark.evaluation.samples import sampled_means
from clm_spark.models.list_slices import ListComparison, in_groups, slice_figures
from clm_spark.models.task import Inputs
from clm_spark.settings import EvaluationSettings
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, SLICE_METRICS

MORNING = date(2024, 2, 1)
DAYS = [  # customer, item, day, known on, lines bought
    ("old", "milk", "2022-05-01", "2022-05-01", 1), ("old", "milk", "2024-01-10", "2024-01-10", 2),
    ("old", "tea", "2024-01-10", "2024-01-10", 0),  # seen, not bought
    ("half a year", "milk", "2023-08-01", "2023-08-01", 1), ("half a year", "jam", "2023-09-01", "2023-09-01", 1),
    ("new", "milk", "2024-01-20", "2024-01-20", 1),
    ("new", "rice", "2024-01-20", "2024-02-05", 1),  # became known after the morning
    ("", "soap", "2024-01-20", "2024-01-20", 9),  # guests
]  # fmt: skip


def partials(spark, rows):
    names = "customer_id string, item_id string, day string, known string, num_lines bigint"
    days = spark.createDataFrame(rows, names).withColumn("num_events", F.lit(1).cast("bigint"))
    dated = days.withColumns({"day_on": F.to_date("day"), "known_on": F.to_date("known")})
    rest = {
        c.name: F.lit(None if isinstance(c.type, T.StringType) else 0).cast(c.type)
        for c in CUSTOMER_ITEM_DAYS.columns
        if c.name not in dated.columns
    }
    return dated.withColumns(rest).select(CUSTOMER_ITEM_DAYS.schema.names)


def morning(lake, rows):
    lake.replace(partials(lake.spark, rows), into=CUSTOMER_ITEM_DAYS)
    return Inputs(lake, MORNING, lake.spark.range(0))


def test_what_was_taken_is_put_into_groups(lake):
    taken = [
        ("old", "milk", "365 days and more", "head: half of all purchases", "bought before"),
        ("old", "tea", "365 days and more", "never bought before", "first purchase of the item"),
        ("half a year", "jam", "90 to 364 days", "tail", "bought before"),
        ("new", "jam", "under 90 days", "tail", "first purchase of the item"),
        ("new", "rice", "under 90 days", "never bought before", "first purchase of the item"),
        ("new", "soap", "under 90 days", "never bought before", "first purchase of the item"),
    ]
    truth = lake.spark.createDataFrame([row[:2] for row in taken], "customer_id string, item_id string")
    grouped = in_groups(truth, morning(lake, DAYS)).collect()
    assert len(grouped) == 3 * len(taken)
    found = {(row.customer_id, row.item_id, row.slice): row.customers for row in grouped}
    for who, item, *groups in taken:
        assert [found[who, item, name] for name in ("tenure", "items", "purchases")] == groups, (who, item)


def test_figures_of_groups_add_up_to_those_of_all(lake):
    """60 customers; every third hits first what it bought before, and lists what nobody bought second."""
    spark = lake.spark
    who = [f"c{number:02}" for number in range(60)]
    inputs = morning(lake, [(name, "milk", "2024-01-10", "2024-01-10", 1) for name in who])
    truth = spark.createDataFrame(
        [(name, item) for name in who for item in ("milk", "jam")], "customer_id string, item_id string"
    )
    listed = [("m", name, 1, "milk" if number % 3 == 0 else "soap") for number, name in enumerate(who)]
    lists = spark.createDataFrame(listed, "model string, customer_id string, rank int, item_id string")
    slices = slice_figures(lists, truth, inputs, score="recommendation", models=["m", "silent"])
    figures = {(row.model, row.slice, row.customers, row.metric): row for row in slices.collect()}
    assert {row.num_tested for row in figures.values()} == {60}
    repeats = figures["m", "purchases", "bought before", "recall_at_20"]
    assert repeats.value == figures["m", "items", "head: half of all purchases", "ndcg_at_10"].value == 1 / 3
    assert figures["m", "purchases", "first purchase of the item", "hit_rate_at_10"].value == 0
    assert figures["m", "tenure", "under 90 days", "recall_at_20"].value == 1 / 6
    silent = figures["silent", "tenure", "under 90 days", "recall_at_20"]
    assert (silent.value, silent.low, silent.high) == (0, None, None), (
        "where all are 0 nothing tells how far others are"
    )

    # The interval is the bootstrap's, but for its noise.
    measured = customer_ranking(lists, truth, models=["m"])
    drawn = intervals(sampled_means(measured, seed=7, most=100), ["recall_at_20"], replicates=4000, seed=7)
    whole, bounds = figures["m", "tenure", "under 90 days", "recall_at_20"], drawn["m", "recall_at_20"]
    assert abs(whole.low - bounds.low) < 0.015
    assert abs(whole.high - bounds.high) < 0.015

    compared = ListComparison((), None, "ndcg_at_10", EvaluationSettings()).with_slices(slices)
    ((table, rows),) = compared.reports_on("m")
    assert table is SLICE_METRICS
    worst = {(row.slice, row.customers) for row in rows.where("is_worst").collect()}
    assert worst == {("items", "never bought before")}, "of two at 0 the first by name"
    assert {row.model for row in rows.collect()} == {"m"}
