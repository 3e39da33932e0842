"""Customer segments: K-Means on what a customer's last 90 days looked like, and each segment in words."""

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.clustering import KMeans
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.feature import SQLTransformer, StandardScaler, VectorAssembler
from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from clm_spark.settings import SegmentSettings

# What segments are cut by, on the scale they are cut on. Those who never bought are as silent as they are old here.
FEATURES = {
    "log_recency": "ln(1 + coalesce(purchase_recency_days, tenure_days))",
    "log_orders": "ln(1 + num_orders_90d)",
    "log_revenue": "ln(1 + greatest(net_revenue_90d_cents, 0) / 100)",
    "log_mean_order": "ln(1 + coalesce(mean_order_cents, 0D) / 100)",
    "discount": "coalesce(discount_90d_share, 0D)",
    "log_trend": "ln(orders_trend)",
}
# Baskets in 90 days, at least, and how one would say it.
FREQUENCIES = (
    (32, "buys several times a week"),
    (19, "buys once or twice a week"),
    (11, "buys about weekly"),
    (5, "buys about every other week"),
    (2.5, "buys about monthly"),
    (0.5, "buys rarely"),
)
PARTITIONS = 4


def fit_segments(customers: DataFrame, *, settings: SegmentSettings) -> PipelineModel:
    """K-Means with the k of the highest silhouette; `segment` 0 is the one with the highest mean revenue.

    Needs one as_of of gold.customer_features.
    """
    # In a fixed place and order: where the centres start depends on it.
    ordered = customers.repartition(PARTITIONS, "customer_id").sortWithinPartitions("customer_id")
    scaler = _scaling().fit(ordered)
    points = scaler.transform(ordered)
    fits = [
        KMeans(k=k, seed=settings.seed, featuresCol="scaled").fit(points)
        for k in range(settings.k_from, settings.k_to + 1)
    ]
    best = max(fits, key=lambda fit: silhouette(fit.transform(points), by="prediction"))
    return PipelineModel([*scaler.stages, best, _numbering(best.transform(points), best.getK())])


def assign_segments(model: PipelineModel, customers: DataFrame) -> DataFrame:
    """Add `segment` to customer features, and the `scaled` point that decided it."""
    return model.transform(customers)


def load_segments(model_path: str) -> PipelineModel:
    """The model as it was saved."""
    return PipelineModel.load(f"{model_path}/model")


def with_random_segment(assigned: DataFrame, *, seed: int) -> DataFrame:
    """Replace `segment` by chance, the sizes staying about the same: what any clustering must beat."""
    sizes = assigned.groupBy("segment").agg(F.count("*").alias("size"))
    in_order = Window.orderBy("segment")  # a handful of segments
    upto = F.sum("size").over(in_order.rowsBetween(Window.unboundedPreceding, 0))
    total = F.sum("size").over(Window.partitionBy())
    slots = sizes.select(
        F.col("segment").alias("drawn"), ((upto - F.col("size")) / total).alias("above"), (upto / total).alias("below")
    )
    draw = F.pmod(F.xxhash64("customer_id", F.lit(seed)), F.lit(1_000_000)) / 1_000_000
    drawn = assigned.withColumn("_draw", draw).join(
        F.broadcast(slots), on=(F.col("_draw") >= F.col("above")) & (F.col("_draw") < F.col("below")), how="inner"
    )
    return drawn.withColumn("segment", F.col("drawn")).select(assigned.columns)


def silhouette(assigned: DataFrame, *, by: str = "segment") -> float:
    """Mean silhouette over squared Euclidean distances, -1 to 1; -1 where everybody is in one segment."""
    if assigned.select(by).distinct().count() < 2:
        return -1.0
    return float(ClusteringEvaluator(predictionCol=by, featuresCol="scaled").evaluate(assigned))


def segment_profiles(assigned: DataFrame) -> DataFrame:
    """One row per segment and as_of: its figures, and `description`, the same in words."""
    everyone = Window.partitionBy("as_of")
    figures = assigned.groupBy("segment", "as_of").agg(
        F.count("*").alias("num_customers"),
        F.sum(F.greatest("net_revenue_90d_cents", F.lit(0))).alias("_revenue"),
        F.avg("purchase_recency_days").alias("mean_recency_days"),
        F.avg("num_orders_90d").alias("mean_orders_90d"),
        F.avg("net_revenue_90d_cents").alias("mean_revenue_90d_cents"),
        # Rounded: a mean of fractions depends in its last digits on the order of the rows.
        F.round(F.avg("discount_90d_share"), 9).alias("mean_discount_share"),
    )
    shared = figures.withColumns(
        {
            "customers_share": F.col("num_customers") / F.sum("num_customers").over(everyone),
            "revenue_share": F.coalesce(F.try_divide("_revenue", F.sum("_revenue").over(everyone)), F.lit(0.0)),
        }
    )
    return shared.withColumn("description", _in_words(everyone)).drop("_revenue")


def _scaling() -> Pipeline:
    columns = ", ".join(f"{expression} AS {name}" for name, expression in FEATURES.items())
    return Pipeline(
        stages=[
            SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__"),
            VectorAssembler(inputCols=list(FEATURES), outputCol="point"),
            StandardScaler(inputCol="point", outputCol="scaled", withMean=True),
        ]
    )


def _numbering(clustered: DataFrame, k: int) -> SQLTransformer:
    """K-Means numbers clusters by chance; ours go from the highest mean revenue down, whatever the seed."""
    revenue = clustered.groupBy("prediction").agg(F.avg("net_revenue_90d_cents").alias("mean")).collect()
    ranked = [row.prediction for row in sorted(revenue, key=lambda row: (-row["mean"], row.prediction))]
    numbers = {prediction: number for number, prediction in enumerate(ranked)}
    listed = ", ".join(str(numbers.get(prediction, k - 1)) for prediction in range(k))
    return SQLTransformer(statement=f"SELECT *, element_at(array({listed}), prediction + 1) AS segment FROM __THIS__")


def _in_words(everyone: WindowSpec) -> Column:
    """How often, how much, how dear with discounts, and whether it is fading, in that order."""
    orders, recency = F.col("mean_orders_90d"), F.col("mean_recency_days")
    often = F.lit("has stopped buying")
    for least, words in reversed(FREQUENCIES):
        often = F.when(orders >= least, words).otherwise(often)
    often = F.when(recency.isNull(), "has never bought").otherwise(often)
    revenue = F.col("mean_revenue_90d_cents")
    mean_revenue = _mean_of_all("mean_revenue_90d_cents", everyone)
    spends = (
        F.when(revenue <= 0, None)
        .when(revenue == F.max(revenue).over(everyone), "spends most")
        .when(revenue == F.min(revenue).over(everyone), "spends least")
        .when(revenue >= 1.25 * mean_revenue, "spends more than most")
        .when(revenue <= 0.75 * mean_revenue, "spends less than most")
        .otherwise("spends like the average")
    )
    share = F.col("mean_discount_share")
    mean_share = _mean_of_all("mean_discount_share", everyone)
    dear = F.when(share >= 1.2 * mean_share, "looks for discounts").when(share <= 0.8 * mean_share, "pays full price")
    # Silent for twice as long as the pace of its baskets would have it.
    fading = F.when((orders >= 0.5) & (recency > 2 * 90 / orders), "lapsing")
    return F.concat_ws(", ", often, spends, dear, fading)


def _mean_of_all(column: str, everyone: WindowSpec) -> Column:
    weight = F.when(F.col(column).isNotNull(), F.col("num_customers"))
    return F.try_divide(F.sum(F.col(column) * weight).over(everyone), F.sum(weight).over(everyone))
