import numpy as np
from pyspark.sql import Window
from pyspark.sql import functions as F

from clm_spark.evaluation.ranks import EDGES, with_decile, with_place, with_slice

DRAW = np.random.default_rng(1)
INFINITE = float("inf")
CASES = {
    "normal": DRAW.normal(size=3000),
    "constant": np.full(3000, 0.3),
    "four values": DRAW.integers(-2, 2, 3000) * 1.5,
    "half are zero": np.where(DRAW.random(3000) < 0.5, 0, DRAW.random(3000)),
    "odd numbers": [INFINITE, -INFINITE, None, float("nan"), 0.0, -0.0, 1e308, -1e308, 5e-324, None, -INFINITE],
    "all null": [None] * 50,
    "infinite": [-INFINITE] * 30,
    **{f"{count} customers": DRAW.random(count) for count in (1, 2, 3, 9, 10, 11, 15, 20)},
}


def test_places_and_deciles_are_those_of_a_sort_of_everybody(spark):
    rows = [(case, f"c{i}", None if x is None else float(x)) for case, xs in CASES.items() for i, x in enumerate(xs)]
    scored = spark.createDataFrame(rows, "case string, customer_id string, score double").persist()
    placed = with_place(scored, score="score", within=["case"])
    known = F.nanvl("score", F.lit(None))
    in_order = Window.partitionBy("case").orderBy(F.desc(known), F.xxhash64("customer_id"), "customer_id")
    compared = placed.select(
        "case",
        (F.col("place") == F.row_number().over(in_order) - 1).alias("is_right"),
        (F.col("num_ranked") == F.count("*").over(Window.partitionBy("case"))).alias("is_counted"),
    )
    found = compared.groupBy("case").agg(F.count_if(F.expr("is_right AND is_counted")).alias("n")).collect()
    assert {row.case: row.n for row in found} == {case: len(scores) for case, scores in CASES.items()}

    counted = with_decile(scored, score="score", within=["case"]).groupBy("case", "decile").count().collect()
    sizes = {(row.case, row.decile): row["count"] for row in counted}
    of_case = {case: {d: sizes[case, d] for d in range(1, 11) if (case, d) in sizes} for case in CASES}
    for case in ("normal", "constant", "four values", "half are zero"):
        assert of_case[case] == dict.fromkeys(range(1, 11), 300), case
    assert of_case["1 customers"] == {1: 1}
    assert of_case["3 customers"] == {1: 1, 4: 1, 7: 1}
    assert of_case["10 customers"] == dict.fromkeys(range(1, 11), 1)
    assert of_case["15 customers"] == {1: 2, 2: 1, 3: 2, 4: 1, 5: 2, 6: 1, 7: 2, 8: 1, 9: 2, 10: 1}
    scored.unpersist()

    ungrouped = with_place(scored.where("case = '9 customers'"), score="score", within=[]).collect()
    assert [row.place for row in sorted(ungrouped, key=lambda row: -row.score)] == list(range(9))


def test_no_slice_is_large_whatever_the_score(spark):
    """What one task sorts is one slice: here of 200,000 customers with one score, with two, with none and with many."""
    number = F.col("id").cast("int")
    scores = {
        "constant": F.lit(0.5),
        "two": F.when(number % 10 == 0, 0.9).otherwise(0.1),
        "null": F.lit(None),
        "even": F.rand(3),
    }
    rows = spark.range(200_000).select(
        F.col("id").cast("string").alias("customer_id"),
        F.inline(
            F.array(
                *(
                    F.struct(F.lit(name).alias("case"), score.cast("double").alias("score"))
                    for name, score in scores.items()
                )
            )
        ),
    )
    sliced = with_slice(rows, score="score", within=["case"], key="customer_id")
    found = sliced.groupBy("case", "_slice").count().groupBy("case").agg(
        F.max("count").alias("largest"), F.count("*").alias("num_slices")
    )  # fmt: skip
    for row in found.collect():
        assert row.largest < 5 * 200_000 / EDGES, row
        assert row.num_slices <= 2 * (EDGES + 1), row
    plan = with_place(rows, score="score", within=["case"])._jdf.queryExecution().executedPlan().toString()
    windows = [line for line in plan.splitlines() if "Window [" in line and "_num_upto" in line]
    assert windows, plan
    assert all("_slice" in line.split("], [")[1] for line in windows), windows
