"""Probabilities out of raw scores: folds for scores that the fit has not seen, and Platt's sigmoid over them."""

import math
from dataclasses import dataclass

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

LABEL, WEIGHT = "platt_label", "platt_weight"
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Sigmoid:
    """A raw score's probability: 1 / (1 + exp(-(slope * score + intercept)))."""

    slope: float
    intercept: float

    def apply(self, score: Column) -> Column:
        """The probability of a score; null of a null or NaN one."""
        known = F.nanvl(score.cast("double"), F.lit(None).cast("double"))
        # Of a slope of zero an infinite score would make NaN.
        margin = known * self.slope if self.slope else F.when(known.isNotNull(), 0.0)
        return 1 / (1 + F.exp(-(margin + self.intercept)))


def with_fold(rows: DataFrame, *, folds: int, seed: int) -> DataFrame:
    """Add `fold`, 0 to folds - 1, by a hash of the customer: all days of a customer are in one fold.

    A model that is scored on the fold it was not fitted on has then never met the customer, on whatever day.
    """
    return rows.withColumn("fold", F.pmod(F.xxhash64("customer_id", F.lit(seed)), F.lit(folds)).cast("int"))


def fit_sigmoid(scored: DataFrame) -> Sigmoid:
    """Platt's sigmoid of `score`, any number, and `is_positive`; best of out-of-fold scores.

    Three rows, one kind of customer or a constant score give the base rate, no error. Rows whose score is null, NaN or
    infinite are left out; nothing at all gives one half.
    """
    score = F.nanvl(F.col("score").cast("double"), F.lit(None).cast("double"))
    finite = scored.where(F.abs(score) < F.lit(math.inf)).select(score.alias("score"), "is_positive")
    if finite.isEmpty():
        return Sigmoid(slope=0.0, intercept=0.0)
    points = VectorAssembler(inputCols=["score"], outputCol="margin").transform(finite)
    sigmoid = LogisticRegression(featuresCol="margin", labelCol=LABEL, weightCol=WEIGHT, tol=TOLERANCE)
    fitted = sigmoid.fit(platt_rows(points, is_positive=F.col("is_positive")))
    return Sigmoid(slope=float(fitted.coefficients[0]), intercept=float(fitted.intercept))


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
        F.struct(F.lit(1.0).alias(LABEL), target.alias(WEIGHT)),
        F.struct(F.lit(0.0).alias(LABEL), (1 - target).alias(WEIGHT)),
    )
    return scored.crossJoin(F.broadcast(counted)).select(*scored.columns, F.inline(sides))
