"""K-Means and bisecting K-Means by MLlib: the chosen k fitted to all customers."""

from collections.abc import Callable, Sequence

from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.clustering import BisectingKMeans, KMeans
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import DataFrame, SparkSession

from clm_spark.models.registry.flavours import save_spark_pipeline
from clm_spark.models.segments.choice import (
    Candidate,
    Fit,
    bisecting_of_sample,
    candidates_for,
    kmeans_of_sample,
)
from clm_spark.models.segments.entrant import Clusters, FittedSegments
from clm_spark.models.segments.settings import SegmentSettings
from clm_spark.models.segments.space import FEATURES, num_different, sampled_points
from clm_spark.models.segments.tree import Tree, saved_tree
from clm_spark.settings import Settings


class KMeansSegments(FittedSegments):
    """K-Means with k by silhouette and stability; of several starts the tightest."""

    name = "kmeans"
    words = "K-Means"

    def cluster(self, points: DataFrame, scaler: PipelineModel, settings: Settings) -> Clusters:
        """As many clusters as refits find again."""
        asked = settings.of(SegmentSettings)
        candidates = _candidates(points, asked, fit=kmeans_of_sample(starts=asked.starts, seed=asked.seed))
        k = next(each.k for each in candidates if each.is_chosen)
        fits = [KMeans(k=k, seed=asked.seed + start, featuresCol="scaled").fit(points) for start in range(asked.starts)]
        best = min(fits, key=lambda fit: fit.summary.trainingCost)
        return Clusters(k, best.transform(points), _saving(scaler, best, points), candidates)


class BisectingSegments(FittedSegments):
    """Bisecting K-Means: each segment is a half of a larger one, so that fewer, coarser ones can be read off it."""

    name = "bisecting_kmeans"
    words = "bisecting K-Means"

    def cluster(self, points: DataFrame, scaler: PipelineModel, settings: Settings) -> Clusters:
        """As many leaves as refits find again, or fewer where nothing more can be halved."""
        asked = settings.of(SegmentSettings)
        candidates = _candidates(points, asked, fit=bisecting_of_sample(starts=asked.starts, seed=asked.seed))
        k = next(each.k for each in candidates if each.is_chosen)
        best = BisectingKMeans(k=k, seed=asked.seed, featuresCol="scaled").fit(points)
        save = _saving(scaler, best, points)
        return Clusters(len(best.clusterCenters()), best.transform(points), save, candidates)

    def tree(self, spark: SparkSession, path: str) -> Tree:
        """The halves."""
        return saved_tree(spark, path)


def _candidates(points: DataFrame, asked: SegmentSettings, *, fit: Fit) -> tuple[Candidate, ...]:
    most = num_different(points, settings=asked) - 1
    return candidates_for(
        sampled_points(points, most=asked.sample_customers, seed=asked.seed),
        range(asked.k_from, min(asked.k_to, most) + 1),
        fit=fit,
        settings=asked,
    )


def _saving(scaler: PipelineModel, model: Transformer, points: DataFrame) -> Callable[[str, Sequence[int]], None]:
    def save(path: str, numbers: Sequence[int]) -> None:
        listed = ", ".join(map(str, numbers))
        number = SQLTransformer(
            statement=f"SELECT *, element_at(array({listed}), prediction + 1) AS segment FROM __THIS__"
        )
        pipeline = PipelineModel([*scaler.stages, model, number])
        save_spark_pipeline(pipeline, path, rows=points.select(*FEATURES), answer="segment")

    return save
