"""Where customers lie: what segments are cut by, on the scale they are cut on."""

import numpy as np
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.feature import SQLTransformer, StandardScaler, VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.draws import drawn
from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.samples import Floats
from clm_spark.models.segments.settings import SegmentSettings

# Those who never bought are as silent as they are old here.
SCALED = {
    "log_recency": "ln(1 + coalesce(purchase_recency_days, tenure_days))",
    "log_orders": "ln(1 + num_orders_90d)",
    "log_revenue": "ln(1 + greatest(net_revenue_90d_cents, 0) / 100)",
    "log_mean_order": "ln(1 + coalesce(mean_order_cents, 0D) / 100)",
    "discount": "coalesce(discount_90d_share, 0D)",
    "log_trend": "ln(orders_trend)",
}
FEATURES = (
    "purchase_recency_days",
    "tenure_days",
    "num_orders_90d",
    "net_revenue_90d_cents",
    "mean_order_cents",
    "discount_90d_share",
    "orders_trend",
)
DRIFTING = tuple(name for name in FEATURES if name != "tenure_days")  # that one grows by itself


def scaling() -> Pipeline:
    """Rows with `FEATURES` to the same with `SCALED` and `scaled`, each part of which has a standard deviation of 1.

    Its mean stays: MLlib's bisecting K-Means starts from a centre and a ten-thousandth of its length, so that from a centre
    at 0 it finds one cluster.
    """
    columns = ", ".join(f"{expression} AS {name}" for name, expression in SCALED.items())
    return Pipeline(
        stages=[
            SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__"),
            VectorAssembler(inputCols=list(SCALED), outputCol="point"),
            StandardScaler(inputCol="point", outputCol="scaled"),
        ]
    )


def num_different(points: DataFrame, *, settings: SegmentSettings) -> int:
    """How many different points customers are at, counted up to `k_to` and one.

    Raises `TooLittleDataError` where they are no more than `k_from`: each would be a segment.
    """
    found = points.select("scaled").distinct().limit(settings.k_to + 1).count()
    if found <= settings.k_from:
        raise TooLittleDataError(
            f"customers cannot be segmented: more than {settings.k_from} must differ in what segments are cut by, and "
            f"{found} do; wait for more customers, or lower segments.k_from"
        )
    return found


def sampled_points(points: DataFrame, *, most: int, seed: int) -> Floats:
    """The `scaled` points of `most` customers with the lowest hashes: the same whatever the order of the rows."""
    some = drawn(points, F.xxhash64("customer_id", F.lit(seed)), "customer_id", most=most)
    rows = some.select(vector_to_array(F.col("scaled")).alias("point")).toPandas()
    return np.stack(rows["point"].to_list())


def silhouette(assigned: DataFrame, *, by: str = "segment") -> float:
    """Mean silhouette over squared Euclidean distances, -1 to 1; -1 where everybody is in one segment."""
    if assigned.select(by).distinct().count() < 2:
        return -1.0
    return float(ClusteringEvaluator(predictionCol=by, featuresCol="scaled").evaluate(assigned))
