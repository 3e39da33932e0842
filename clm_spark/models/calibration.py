"""Probabilities out of margins: folds for margins that the fit has not seen, and Platt's sigmoid over them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark import SparkContext
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import ModelError

PROBABILITY = "calibrated_probability"
MOST_ROWS = 200_000  # of so many the slope is known to a hundredth
MOST_STEPS, TOLERANCE = 100, 1e-12

Floats = NDArray[np.float64]


def with_fold(rows: DataFrame, *, folds: int, seed: int) -> DataFrame:
    """Add `fold`, 0 to folds - 1, by a hash of the customer: all days of a customer are in one fold.

    A model that is scored on the fold it was not fitted on has then never met the customer, on whatever day.
    """
    return rows.withColumn("fold", F.pmod(F.xxhash64("customer_id", F.lit(seed)), F.lit(folds)).cast("int"))


def keep_some(rows: DataFrame, *, num_rows: int) -> DataFrame:
    """All of `num_rows`, or those of customers chosen by hash, about `MOST_ROWS`: what two numbers are fitted on."""
    if num_rows <= MOST_ROWS:
        return rows
    drawn = F.pmod(F.xxhash64("customer_id", F.lit("sigmoid")), F.lit(MOST_ROWS))
    return rows.where(drawn < F.lit(MOST_ROWS * MOST_ROWS // num_rows))


def fit_sigmoid(margins: DataFrame) -> LogisticRegressionModel:
    """Platt's sigmoid, a fitted stage from `margin` to `calibrated_probability`; best of out-of-fold margins.

    `margins` has `margin`, a vector of one number, and `label`, 0 or 1; it comes to the driver, so the caller bounds it by
    `keep_some`. Three rows, customers of one kind or a constant margin give the base rate. Rows without a finite margin
    are left out; raises `ModelError` where there are no others.
    """
    drawn = margins.select(vector_to_array(F.col("margin"))[0].alias("margin"), "label").toArrow()
    values, happened = (drawn[name].to_numpy().astype(np.float64) for name in ("margin", "label"))
    is_finite = np.isfinite(values)
    if not is_finite.any():
        raise ModelError("its probabilities cannot be calibrated: no customer has a finite margin")
    order = np.lexsort((happened[is_finite], values[is_finite]))  # whatever the order they came in
    slope, intercept = platt(values[is_finite][order], happened[is_finite][order] > 0)
    return _as_stage(slope, intercept)


def platt(margins: Floats, happened: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of the sigmoid, by Newton's method with halved steps (Lin, Lin and Weng 2007).

    Platt's targets are not 1 and 0 but (positives + 1) / (positives + 2) and 1 / (negatives + 2), so that few rows, one
    kind of them, or scores that separate both kinds give no certainty (Platt 1999).
    """
    positives = int(happened.sum())
    targets = np.where(happened, (positives + 1) / (positives + 2), 1 / (len(happened) - positives + 2))
    centre, spread = float(margins.mean()), float(margins.std())
    base = float(np.log(targets.mean() / (1 - targets.mean())))
    if spread <= 1e-12 * max(1.0, abs(centre)):
        return 0.0, base
    slope, intercept = _newton((margins - centre) / spread, targets, base)
    return slope / spread, intercept - slope * centre / spread


def _newton(x: Floats, targets: Floats, base: float) -> tuple[float, float]:
    def loss(at: Floats) -> float:
        f = at[0] * x + at[1]
        return float((np.logaddexp(0, f) - targets * f).sum())

    at, reached = np.array([0.0, base]), loss(np.array([0.0, base]))
    for _ in range(MOST_STEPS):
        p = 1 / (1 + np.exp(-(at[0] * x + at[1])))
        gradient = np.array([((p - targets) * x).sum(), (p - targets).sum()])
        if np.abs(gradient).max() < TOLERANCE * len(x):
            break
        weights = p * (1 - p)
        cross = (weights * x).sum()
        curvature = np.array([[(weights * x * x).sum(), cross], [cross, weights.sum()]]) + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while (next_loss := loss(at - step)) > reached and np.abs(step).max() > TOLERANCE:
            step /= 2
        at, reached = at - step, next_loss
    return float(at[0]), float(at[1])


def _as_stage(slope: float, intercept: float) -> LogisticRegressionModel:
    """The stage that Spark saves and loads as one that it has fitted itself."""
    jvm: Any = SparkContext.getOrCreate()._jvm
    classification, linalg = jvm.org.apache.spark.ml.classification, jvm.org.apache.spark.ml.linalg
    numbers = SparkContext.getOrCreate()._gateway.new_array(jvm.double, 1)  # type: ignore[union-attr]
    numbers[0] = slope
    name = f"platt_{abs(hash((slope, intercept))):x}"
    model = LogisticRegressionModel(
        classification.LogisticRegressionModel(name, linalg.DenseVector(numbers), intercept)
    )
    model.setFeaturesCol("margin").setProbabilityCol(PROBABILITY)
    return model.setRawPredictionCol("calibrated_margin").setPredictionCol("calibrated_prediction")


def without_summary(model: Any) -> Any:
    """The model without the record of its training, as it would be loaded.

    The record holds the session, and once an `Observation` was used that cannot travel to the executors.
    """
    if getattr(model, "hasSummary", False):
        jvm: Any = SparkContext.getOrCreate()._jvm
        model._java_obj.setSummary(jvm.scala.Option.empty())
    return model
