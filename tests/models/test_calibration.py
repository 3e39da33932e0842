import numpy as np
import pytest
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Observation
from pyspark.sql import functions as F
from sklearn.calibration import _SigmoidCalibration

from clm_spark.errors import ModelError
from clm_spark.models.calibration import PROBABILITY, fit_sigmoid, with_fold

INFINITE, NAN = float("inf"), float("nan")


def margins(spark, scores, happened=None):
    rows = [(n, float(x), float((happened or scores)[n] > 0)) for n, x in enumerate(scores)]
    frame = spark.createDataFrame(rows, "n int, score double, label double")
    return VectorAssembler(inputCols=["score"], outputCol="margin", handleInvalid="keep").transform(frame)


def probabilities(spark, fitted, asked):
    answered = fitted.transform(margins(spark, asked)).orderBy("n")
    return [row.p for row in answered.select(vector_to_array(F.col(PROBABILITY))[1].alias("p")).collect()]


def test_the_sigmoid_is_that_of_scikit_learn(spark):
    # Spark cannot send a model whose training summary holds a session that has observed something.
    spark.range(3).observe(Observation(), F.count("*").alias("rows")).collect()
    random = np.random.default_rng(8)
    happened = random.random(300) < 0.3
    scores = 40 * random.normal(size=300) + 60 * happened + 1000
    fitted = fit_sigmoid(margins(spark, scores, happened.tolist()))
    oracle = _SigmoidCalibration().fit(scores, happened)
    asked = [900.0, 1000.0, 1050.0]
    assert probabilities(spark, fitted, asked) == pytest.approx(oracle.predict(np.array(asked)), abs=1e-5)


@pytest.mark.parametrize(
    ("scores", "happened", "expected"),
    [  # what a margin of 1 means
        ([1, 1, INFINITE, 1, NAN, 1], [True, False, True, False, True, False], (2 / 3 + 3 / 5) / 4),
        ([0, 1, 2], [True, True, True], 4 / 5),
    ],
    ids=["constant margin", "one kind"],
)
def test_too_little_to_fit_gives_the_base_rate(spark, scores, happened, expected):
    (probability,) = probabilities(spark, fit_sigmoid(margins(spark, scores, happened)), [1.0])
    assert probability == pytest.approx(expected, abs=1e-6)


def test_without_a_finite_margin_there_is_no_probability(spark):
    with pytest.raises(ModelError, match="no customer has a finite margin"):
        fit_sigmoid(margins(spark, [NAN, INFINITE], [True, False]))


def test_margins_that_separate_both_kinds_give_no_certainty(spark):
    fitted = fit_sigmoid(margins(spark, [-1, 1, 2], [False, True, True]))
    low, high = probabilities(spark, fitted, [-1.0, 2.0])
    assert 0.01 < low < 0.5 < high < 0.99


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
