"""Probabilities out of margins: folds for margins that the fit has not seen, and Platt's sigmoid over them."""

import math
from typing import Any

from pyspark import SparkContext
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import ModelError

PROBABILITY = "calibrated_probability"
PLATT_LABEL, PLATT_WEIGHT = "platt_label", "platt_weight"
TOLERANCE = 1e-10


def with_fold(rows: DataFrame, *, folds: int, seed: int) -> DataFrame:
    """Add `fold`, 0 to folds - 1, by a hash of the customer: all days of a customer are in one fold.

    A model that is scored on the fold it was not fitted on has then never met the customer, on whatever day.
    """
    return rows.withColumn("fold", F.pmod(F.xxhash64("customer_id", F.lit(seed)), F.lit(folds)).cast("int"))


def fit_sigmoid(margins: DataFrame) -> Any:
    """Platt's sigmoid, a fitted stage from `margin` to `calibrated_probability`; best of out-of-fold margins.

    `margins` has `margin`, a vector of one number, and `label`, 0 or 1. Three rows, customers of one kind or a constant
    margin give the base rate. Rows without a finite margin are left out; raises `ModelError` where there are no others.
    """
    finite = margins.where(F.abs(vector_to_array(F.col("margin"))[0]) < F.lit(math.inf))
    if finite.isEmpty():
        raise ModelError("its probabilities cannot be calibrated: no customer has a finite margin")
    sigmoid = LogisticRegression(
        featuresCol="margin",
        labelCol=PLATT_LABEL,
        weightCol=PLATT_WEIGHT,
        rawPredictionCol="calibrated_margin",
        probabilityCol=PROBABILITY,
        predictionCol="calibrated_prediction",
        tol=TOLERANCE,
    )
    return without_summary(sigmoid.fit(platt_rows(finite, is_positive=F.col("label") > 0)))


def without_summary(model: Any) -> Any:
    """The model without the record of its training, as it would be loaded.

    The record holds the session, and once an `Observation` was used that cannot travel to the executors.
    """
    if getattr(model, "hasSummary", False):
        jvm: Any = SparkContext.getOrCreate()._jvm
        model._java_obj.setSummary(jvm.scala.Option.empty())
    return model


def platt_rows(scored: DataFrame, *, is_positive: Column) -> DataFrame:
    """Two rows for each: `platt_label` 1 and 0, each with its `platt_weight`, to fit a logistic regression on.

    Platt's targets are not 1 and 0 but (positives + 1) / (positives + 2) and 1 / (negatives + 2), so that few rows, one
    kind of them, or scores that separate both kinds give no certainty (Platt 1999). A row of either label with the
    target as its weight has the same likelihood, and both labels are there whatever the rows.
    """
    counted = scored.agg(F.count_if(is_positive).alias("_positives"), F.count_if(~is_positive).alias("_negatives"))
    positives, negatives = F.col("_positives"), F.col("_negatives")
    target = F.when(is_positive, (positives + 1) / (positives + 2)).otherwise(1 / (negatives + 2))
    sides = F.array(
        F.struct(F.lit(1.0).alias(PLATT_LABEL), target.alias(PLATT_WEIGHT)),
        F.struct(F.lit(0.0).alias(PLATT_LABEL), (1 - target).alias(PLATT_WEIGHT)),
    )
    return scored.crossJoin(F.broadcast(counted)).select(*scored.columns, F.inline(sides))
