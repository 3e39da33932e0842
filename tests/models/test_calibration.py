import numpy as np
import pytest
from pyspark.sql import functions as F
from sklearn.calibration import _SigmoidCalibration

from clm_spark.models.calibration import Sigmoid, fit_sigmoid, with_fold

INFINITE, NAN = float("inf"), float("nan")


def frame_of(spark, scores, happened):
    rows = [(float(x), bool(y)) for x, y in zip(scores, happened, strict=True)]
    return spark.createDataFrame(rows, "score double, is_positive boolean")


def test_the_sigmoid_is_that_of_scikit_learn(spark):
    random = np.random.default_rng(8)
    happened = random.random(300) < 0.3
    scores = 40 * random.normal(size=300) + 60 * happened + 1000
    found = fit_sigmoid(frame_of(spark, scores, happened))
    oracle = _SigmoidCalibration().fit(scores, happened)
    asked = [900.0, 1000.0, 1050.0, INFINITE, -INFINITE, NAN, None]
    told = spark.createDataFrame([(x,) for x in asked], "x double").select(found.apply(F.col("x")).alias("p")).collect()
    assert [row.p for row in told[:3]] == pytest.approx(oracle.predict(np.array(asked[:3])), abs=1e-5)
    assert [row.p for row in told[3:]] == [1.0, 0.0, None, None]


@pytest.mark.parametrize(
    ("scores", "happened", "expected"),
    [  # what a score of 1 means
        ([1, 1, INFINITE, 1, NAN, 1], [True, False, True, False, True, False], (2 / 3 + 3 / 5) / 4),
        ([0, 1, 2], [True, True, True], 4 / 5),
        ([NAN], [True], 1 / 2),
    ],
    ids=["constant score", "one kind", "nothing"],
)
def test_too_little_to_fit_gives_the_base_rate(spark, scores, happened, expected):
    found = fit_sigmoid(frame_of(spark, scores, happened))
    told = spark.range(1).select(found.apply(F.lit(1.0)).alias("p"), found.apply(F.lit(INFINITE)).alias("q")).head()
    assert told.p == pytest.approx(expected, abs=1e-6)
    assert 0 <= told.q <= 1


def test_scores_that_separate_both_kinds_give_no_certainty(spark):
    found = fit_sigmoid(frame_of(spark, [-1, 1, 2], [False, True, True]))
    assert found.slope > 0
    told = spark.range(1).select(found.apply(F.lit(2.0)).alias("p"), Sigmoid(0.0, 0.0).apply(F.lit(None)).alias("q"))
    assert 0.5 < told.head().p < 0.99
    assert told.head().q is None


def test_folds_hold_whole_customers_and_about_as_many_each(spark):
    rows = spark.range(3000).select(F.concat(F.lit("c"), F.col("id") % 1000).alias("customer_id"))
    folded = with_fold(rows, folds=4, seed=1)
    per_customer = folded.groupBy("customer_id").agg(
        F.count_distinct("fold").alias("folds"), F.max("fold").alias("fold")
    )
    sizes = per_customer.groupBy("fold").agg(F.count("*").alias("n"), F.max("folds").alias("folds")).collect()
    assert sorted(row.fold for row in sizes) == [0, 1, 2, 3]
    assert all(row.folds == 1 and 200 < row.n < 300 for row in sizes)
    again = with_fold(rows, folds=4, seed=2).join(folded.distinct().withColumnRenamed("fold", "was"), on="customer_id")
    assert again.where("fold <> was").count() > 1500, "another seed, other folds"
