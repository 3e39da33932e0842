"""Customer segments: the task, K-Means on what a customer's last 90 days looked like, and chance as its floor."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.clustering import KMeans
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.feature import SQLTransformer, StandardScaler, VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark import files
from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.samples import Means
from clm_spark.evaluation.silhouette import customer_silhouette
from clm_spark.models.comparison import SampledComparison
from clm_spark.models.fixed_order import in_fixed_order
from clm_spark.models.registry import ModelVersion, fingerprint
from clm_spark.models.registry.flavours import load_spark_pipeline, save_spark_pipeline
from clm_spark.models.segment_numbers import match_numbers
from clm_spark.models.segment_profiles import segment_profiles
from clm_spark.models.task import Comparison, Inputs, Model, Split, Task
from clm_spark.session import persisted
from clm_spark.settings import Section
from clm_spark.tables.catalog import CUSTOMER_FEATURES, FEATURE_DRIFT, MODEL_METRICS, SEGMENT_PROFILES, SEGMENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)

# What segments are cut by, on the scale they are cut on. Those who never bought are as silent as they are old here.
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
NEXT_NUMBER = "next_number.txt"  # in a version's folder
DRIFTING = tuple(name for name in FEATURES if name != "tenure_days")  # that one grows by itself


class SegmentSettings(Section):
    """K-Means, and when it is fitted anew."""

    key: ClassVar[str] = "segments"
    k_from: Annotated[int, Field(ge=2)] = 3
    k_to: Annotated[int, Field(ge=2)] = 8
    refit_every_days: Annotated[int, Field(ge=1)] = Field(
        28, description="age at which the segments in use are compared with a new fit"
    )
    refit_on_drift: bool = Field(True, description="compare at once when a feature they are cut by has drifted")
    seed: int = 7

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "SegmentSettings":
        if self.k_from > self.k_to:
            raise ValueError("segments.k_from must not be above segments.k_to")
        return self


class Segmentation(Task):
    """Groups of customers who are alike."""

    name = "segments"
    question = "Which customers are alike?"
    grain = "customer"
    population = "every customer known as of the day"
    label = "none"
    metrics = ("silhouette",)
    decided_by = "silhouette"
    train_job = "train_segments"
    score_job = "assign_segments"
    section = SegmentSettings
    reads = (CUSTOMER_FEATURES, FEATURE_DRIFT)
    asks = (CUSTOMER_FEATURES,)
    writes = (SEGMENTS, SEGMENT_PROFILES)

    def reason_to_train(self, lake: Lake, incumbent: ModelVersion | None) -> str | None:
        """Segments that change every day are of no use: they are fitted on a schedule, or when features drift."""
        asked, as_of = lake.settings.of(SegmentSettings), lake.settings.as_of
        if incumbent is None:
            return "none are in use"
        compared_on = _last_compared(lake) or incumbent.as_of
        due_on = compared_on + timedelta(days=asked.refit_every_days)
        if as_of >= due_on:
            return f"the last comparison is of {compared_on}"
        # Drift shows for as long as it looks back: one comparison answers it.
        may_drift = asked.refit_on_drift and as_of >= compared_on + timedelta(days=lake.settings.drift.against_days)
        drifted = _drifted(lake) if may_drift else []
        if drifted:
            return f"{', '.join(drifted)} drifted"
        log.info("segments of %s stay in use at least until %s", incumbent.version, due_on)
        return None

    @contextmanager
    def split(self, lake: Lake) -> Iterator[Split]:
        """No days follow: all customers of as_of are clustered, and the clusters held against the same customers."""
        with persisted(lake.read_as_of(CUSTOMER_FEATURES).select("customer_id", *FEATURES)) as customers:
            if customers.isEmpty():
                raise TooLittleDataError(f"customers cannot be segmented: none is known as of {lake.settings.as_of}")
            inputs = Inputs(lake, lake.settings.as_of, customers)
            yield Split(
                past=inputs,
                test=inputs,
                truth=customers.select("customer_id"),
                now=inputs,
                tested_on=None,
                fingerprint=fingerprint(customers),
            )

    def population_rows(self, lake: Lake) -> Inputs:
        """Every customer of as_of."""
        return Inputs(lake, lake.settings.as_of, lake.read_as_of(CUSTOMER_FEATURES))

    def compare(self, answers: Mapping[str, DataFrame], split: Split) -> Comparison:
        """Silhouettes of all entrants over the same points."""
        asked = split.now.settings.evaluation
        rows = split.now.rows
        points = _scaling().fit(rows).transform(rows).select("customer_id", "scaled")
        with persisted(_beside(points, answers)) as assigned:
            num_tested = assigned.count()
            figures = [(name, "silhouette", silhouette(assigned, by=name), num_tested) for name in answers]
            measured = assigned.sparkSession.createDataFrame(
                figures, "model string, metric string, value double, num_tested bigint"
            )
            sample = _sampled_silhouettes(assigned, list(answers), most=asked.max_customers, num_rows=num_tested)
            return SampledComparison.of(measured, sample, decided_by=self.decided_by, settings=asked)

    def write(self, lake: Lake, answers: DataFrame, served: ModelVersion) -> None:
        """The segment of every customer, and each segment in words."""
        as_of = lake.settings.as_of
        with persisted(answers.withColumn("model_version", F.lit(served.version))) as assigned:
            lake.replace(assigned.select(SEGMENTS.schema.names), into=SEGMENTS, as_of=as_of)
            profiles = segment_profiles(assigned).withColumn("model_version", F.lit(served.version))
            lake.replace(profiles, into=SEGMENT_PROFILES, as_of=as_of)


class KMeansSegments(Model):
    """K-Means with the k of the highest silhouette. Its answers are the rows asked about with `segment`."""

    name = "kmeans"
    task = Segmentation.name
    words = "K-Means"
    section = SegmentSettings
    features = FEATURES
    uses = ("clm_spark.models.fixed_order", "clm_spark.models.segment_numbers")

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Cluster, and take over the numbers of the clusters in use where customers are the same."""
        in_use = load_spark_pipeline(incumbent) if incumbent else None
        asked, first_free = inputs.settings.of(SegmentSettings), _next_number(incumbent)
        fitted, next_number = fit_segments(inputs.rows, settings=asked, in_use=in_use, first_free=first_free)
        save_spark_pipeline(fitted, path, rows=inputs.rows.select(*self.features), answer="segment")
        files.write_text(f"{path}/{NEXT_NUMBER}", str(next_number))

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """The rows with `segment`."""
        return load_spark_pipeline(path).transform(inputs.rows).select(*inputs.rows.columns, "segment")


class RandomSegments(Model):
    """Segments by chance: what any clustering must beat, and nobody is shown."""

    name = "random"
    task = Segmentation.name
    words = "chance"
    section = SegmentSettings
    is_rule = True
    may_serve = False

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Nothing is trained."""

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """As many segments as settings ask for at least, by a hash of the customer."""
        asked = inputs.settings.of(SegmentSettings)
        drawn = F.pmod(F.xxhash64("customer_id", F.lit(asked.seed)), F.lit(asked.k_from)).cast("int")
        return inputs.rows.withColumn("segment", drawn)


def fit_segments(
    customers: DataFrame, *, settings: SegmentSettings, in_use: PipelineModel | None = None, first_free: int = 0
) -> tuple[PipelineModel, int]:
    """K-Means with the k of the highest silhouette, and the next free number. Needs one as_of of gold.customer_features.

    `segment` 0 is the one with the highest mean revenue; with segments `in_use`, each new one takes the number of the
    one that holds most of its customers (Hungarian matching). Further ones get new numbers, from `first_free` on: a
    number that was ever used means the same customers for good. Raises `TooLittleDataError` where customers are at no
    more than `k_from` different points: each would be a segment.
    """
    # Where the centres start depends on place and order.
    ordered = in_fixed_order(customers, "customer_id")
    scaler = _scaling().fit(ordered)
    points = scaler.transform(ordered)
    num_different = points.select("scaled").distinct().limit(settings.k_to + 1).count()
    if num_different <= settings.k_from:
        raise TooLittleDataError(
            f"customers cannot be segmented: more than {settings.k_from} must differ in what segments are cut by, and "
            f"{num_different} do; wait for more customers, or lower segments.k_from"
        )
    fits = [
        KMeans(k=k, seed=settings.seed, featuresCol="scaled").fit(points)
        for k in range(settings.k_from, min(settings.k_to, num_different - 1) + 1)
    ]
    best = max(fits, key=lambda fit: silhouette(fit.transform(points), by="prediction"))
    clustered = best.transform(points)
    numbers = _by_revenue(clustered) if in_use is None else _as_in_use(clustered, in_use, first_free)
    free = max([first_free - 1, *numbers.values()]) + 1
    unnumbered = [prediction for prediction in range(best.getK()) if prediction not in numbers]
    numbers |= {prediction: free + place for place, prediction in enumerate(unnumbered)}
    listed = ", ".join(str(numbers[prediction]) for prediction in range(best.getK()))
    number = SQLTransformer(statement=f"SELECT *, element_at(array({listed}), prediction + 1) AS segment FROM __THIS__")
    return PipelineModel([*scaler.stages, best, number]), free + len(unnumbered)


def silhouette(assigned: DataFrame, *, by: str = "segment") -> float:
    """Mean silhouette over squared Euclidean distances, -1 to 1; -1 where everybody is in one segment."""
    if assigned.select(by).distinct().count() < 2:
        return -1.0
    return float(ClusteringEvaluator(predictionCol=by, featuresCol="scaled").evaluate(assigned))


def _beside(points: DataFrame, answers: Mapping[str, DataFrame]) -> DataFrame:
    """Each customer's point, and the segment that every entrant puts the customer into, under the entrant's name."""
    for name, rows in answers.items():
        points = points.join(rows.select("customer_id", F.col("segment").alias(name)), on="customer_id", how="inner")
    return points


def _sampled_silhouettes(assigned: DataFrame, names: list[str], *, most: int, num_rows: int) -> Means:
    """Silhouettes of `most` customers chosen by hash, each within the sample: what the bootstrap draws from."""
    share = min(1.0, most / max(1, num_rows))
    draw = F.pmod(F.xxhash64("customer_id"), F.lit(1_000_000)) < F.lit(int(share * 1_000_000))
    rows = assigned.where(draw).select(vector_to_array(F.col("scaled")).alias("point"), *names).toPandas()
    points = np.stack(rows["point"].to_list())
    of_models = [customer_silhouette(points, rows[name].to_numpy()) for name in names]
    return Means(np.stack(of_models, axis=1)[:, :, None], tuple(names), ("silhouette",))


def _by_revenue(clustered: DataFrame) -> dict[int, int]:
    """K-Means numbers clusters by chance; ours go from the highest mean revenue down. Bounded by k."""
    revenue = clustered.groupBy("prediction").agg(F.avg("net_revenue_90d_cents").alias("mean")).collect()
    ranked = sorted(revenue, key=lambda row: (-row["mean"], row.prediction))
    return {row.prediction: number for number, row in enumerate(ranked)}


def _as_in_use(clustered: DataFrame, in_use: PipelineModel, first_free: int) -> dict[int, int]:
    """The number in use for each new cluster, by the customers they share. Bounded by k times k."""
    now = in_use.transform(clustered.select("customer_id", *FEATURES)).select("customer_id", "segment")
    both = clustered.select("customer_id", "prediction").join(now, on="customer_id", how="inner")
    counted = both.groupBy("segment", "prediction").agg(F.count("*").alias("n")).collect()
    old, new = (sorted({row[name] for row in counted}) for name in ("segment", "prediction"))
    overlap = np.zeros((len(old), len(new)), dtype=np.int64)
    for row in counted:
        overlap[old.index(row["segment"]), new.index(row["prediction"])] = row["n"]
    return dict(zip(new, match_numbers(overlap, old, first_free), strict=True))


def _next_number(version: str | None) -> int:
    """The number that a new segment gets after those of a version, and of all that came before it."""
    if version is None or not files.exists(f"{version}/{NEXT_NUMBER}"):  # 0.1 wrote none, and took no numbers over
        return 0
    return int(files.read_text(f"{version}/{NEXT_NUMBER}"))


def _last_compared(lake: Lake) -> date | None:
    """The last as_of before the run's for which segments were compared."""
    if not lake.exists(MODEL_METRICS):
        return None
    earlier = (F.col("task") == Segmentation.name) & (F.col("as_of") < F.lit(lake.settings.as_of))
    last = lake.read(MODEL_METRICS).where(earlier).agg(F.max("as_of")).head()
    return None if last is None else last[0]


def _drifted(lake: Lake) -> list[str]:
    if not lake.exists(FEATURE_DRIFT):
        return []
    drifted = lake.read_as_of(FEATURE_DRIFT).where(
        F.col("has_drifted") & (F.col("table_name") == CUSTOMER_FEATURES.title) & F.col("feature").isin(*DRIFTING)
    )
    return sorted(row.feature for row in drifted.select("feature").collect())  # of six at most


def _scaling() -> Pipeline:
    columns = ", ".join(f"{expression} AS {name}" for name, expression in SCALED.items())
    return Pipeline(
        stages=[
            SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__"),
            VectorAssembler(inputCols=list(SCALED), outputCol="point"),
            StandardScaler(inputCol="point", outputCol="scaled", withMean=True),
        ]
    )
