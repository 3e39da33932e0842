"""Who will stop buying: gradient-boosted trees, and what they are measured against."""

from datetime import date, timedelta
from typing import Any

from pyspark import SparkContext
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import GBTClassifier, LogisticRegression
from pyspark.ml.feature import SQLTransformer, VectorAssembler, VectorSlicer
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.settings import ChurnSettings
from clm_spark.tables.feature import windowed_name

# Chosen on The Complete Journey, see docs/tried.md.
EVER = (
    "tenure_days",
    "recency_days",
    "purchase_recency_days",
    "num_purchase_days",
    "num_orders",
    "net_revenue_cents",
    "mean_order_cents",
    "mean_gap_days",
    "overdue_ratio",
    "orders_trend",
)
WINDOWED = (
    "num_active_days",
    "num_visits",
    "num_views",
    "num_carts",
    "num_orders",
    "num_lines",
    "num_campaigns",
    "num_coupons",
    "net_revenue_cents",
    "discount_share",
)
FEATURES = (*EVER, *(windowed_name(stem, days) for days in (7, 30, 90) for stem in WINDOWED))
# The dumb rules: silent the longest, and bought the least.
RULES = {"recency_rule": "purchase_recency_days", "orders_rule": "-num_orders_90d"}

PARTITIONS = 4
BUCKETS = 4096


def keep_active(features: DataFrame, *, active_days: int) -> DataFrame:
    """Those who bought in the `active_days` before as_of: whoever left long ago is no longer asked about."""
    return features.where(F.col("purchase_recency_days") <= active_days)


def keep_closed_by(labelled: DataFrame, day: date, *, horizon_days: int) -> DataFrame:
    """Rows whose answer was known on the morning of `day`."""
    return labelled.where(F.col("as_of") <= F.lit(day - timedelta(days=horizon_days)))


def fit_churn(labelled: DataFrame, *, settings: ChurnSettings) -> PipelineModel:
    """Learn `is_churned` by boosted trees; their probability is not calibrated yet."""
    trees = GBTClassifier(
        labelCol="is_churned_label",
        maxIter=settings.max_iterations,
        maxDepth=settings.max_depth,
        stepSize=settings.step_size,
        subsamplingRate=settings.subsample,
        minInstancesPerNode=settings.min_leaf_customers,
        featureSubsetStrategy=str(settings.feature_share),
        seed=settings.seed,
    )
    return _fit(labelled, trees)


def fit_logistic(labelled: DataFrame) -> PipelineModel:
    """Learn `is_churned` by logistic regression on the same features: the rival that every text begins with."""
    return _fit(labelled, LogisticRegression(labelCol="is_churned_label", regParam=0.01))


def calibrated(model: PipelineModel, held_out: DataFrame, *, trained: PipelineModel | None = None) -> PipelineModel:
    """`model` with its probability set right on rows that `trained` (default: itself) has not seen.

    Platt's sigmoid over the trees' margin (Platt 1999): two numbers, so that a few hundred positives will do, and
    the order of the customers stays as it was.
    """
    margin = VectorSlicer(inputCol="rawPrediction", outputCol="margin", indices=[1])
    sigmoid = LogisticRegression(
        featuresCol="margin",
        labelCol="is_churned_label",
        rawPredictionCol="calibrated_margin",
        probabilityCol="calibrated_probability",
        predictionCol="calibrated_prediction",
    )
    scored = margin.transform((trained or model).transform(_with_label(held_out)))
    return PipelineModel([*model.stages, margin, _without_summary(sigmoid.fit(scored))])


def score_churn(model: PipelineModel, features: DataFrame) -> DataFrame:
    """One row per customer and as_of: `probability` of no order in the horizon, calibrated where the model is."""
    scored = model.transform(features)
    column = "calibrated_probability" if "calibrated_probability" in scored.columns else "probability"
    return scored.select("customer_id", "as_of", vector_to_array(F.col(column))[1].alias("probability"))


def load_churn(model_path: str) -> PipelineModel:
    """The model as it was saved."""
    return PipelineModel.load(f"{model_path}/model")


def with_probability_decile(scored: DataFrame) -> DataFrame:
    """Add `decile` within each as_of, 1 for the highest probabilities; equal ones by a hash of the customer.

    Ranked within slices of the probability and shifted by the sizes of the slices above: no task sees all customers.
    """
    sliced = scored.withColumn("_slice", F.floor(F.col("probability") * BUCKETS))
    above = Window.partitionBy("as_of").orderBy(F.desc("_slice")).rowsBetween(Window.unboundedPreceding, -1)
    sizes = sliced.groupBy("as_of", "_slice").agg(F.count("*").alias("_size"))
    shifts = sizes.select(
        "as_of",
        "_slice",
        F.coalesce(F.sum("_size").over(above), F.lit(0)).alias("_shift"),
        F.sum("_size").over(Window.partitionBy("as_of")).alias("_total"),
    )
    inside = Window.partitionBy("as_of", "_slice").orderBy(
        F.desc("probability"), F.xxhash64("customer_id"), "customer_id"
    )
    ranked = sliced.withColumn("_place", F.row_number().over(inside) - 1)
    placed = ranked.join(F.broadcast(shifts), on=["as_of", "_slice"], how="inner")
    decile = F.floor((F.col("_shift") + F.col("_place")) * 10 / F.col("_total")) + 1
    return placed.select(*scored.columns, decile.cast("int").alias("decile"))


def rule_score(rule: str) -> Column:
    """The ranking figure of a dumb rule over customer features: high for those it would give up."""
    return F.expr(RULES[rule]).cast("double")


def _fit(labelled: DataFrame, classifier: GBTClassifier | LogisticRegression) -> PipelineModel:
    stages = [_logged_features(), VectorAssembler(inputCols=[f"log_{f}" for f in FEATURES], outputCol="features")]
    # In a fixed place and order: the trees draw their samples by them.
    ordered = _with_label(labelled).repartition(PARTITIONS, "customer_id").sortWithinPartitions("customer_id", "as_of")
    fitted = Pipeline(stages=[*stages, classifier]).fit(ordered)
    _without_summary(fitted.stages[-1])
    return fitted


def _without_summary(model: Any) -> Any:
    """The model without the record of its training, as it would be loaded.

    The record holds the session, and once an `Observation` was used that cannot travel to the executors.
    """
    if getattr(model, "hasSummary", False):
        jvm: Any = SparkContext.getOrCreate()._jvm
        model._java_obj.setSummary(jvm.scala.Option.empty())
    return model


def _logged_features() -> SQLTransformer:
    """Counts and cents on a log scale, the unknown as zero: trees do not mind, and the logistic rival needs it."""
    logged = (f"signum({f}) * ln(1 + abs({f}))" for f in FEATURES)
    columns = ", ".join(f"coalesce({x}, 0D) AS log_{f}" for x, f in zip(logged, FEATURES, strict=True))
    return SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__")


def _with_label(labelled: DataFrame) -> DataFrame:
    return labelled.withColumn("is_churned_label", F.col("is_churned").cast("double"))
