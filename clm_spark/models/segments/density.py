"""Density clusters by HDBSCAN on a bounded sample; all customers are assigned by their nearest core point."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pyspark.ml import PipelineModel
from pyspark.ml.feature import StandardScalerModel
from pyspark.sql import DataFrame
from pyspark.sql import types as T
from scipy.spatial import KDTree

from clm_spark.evaluation.samples import Floats
from clm_spark.models.registry.flavours import describe_pyfunc
from clm_spark.models.segments.choice import Candidate, candidate, chosen
from clm_spark.models.segments.cores import Cores, with_nearest, write_cores
from clm_spark.models.segments.entrant import Clusters, FittedSegments
from clm_spark.models.segments.settings import SegmentSettings
from clm_spark.models.segments.space import FEATURES, SCALED, num_different, sampled_points
from clm_spark.settings import Section, Settings

Share = Annotated[float, Field(gt=0, le=0.5)]


class DensitySettings(Section):
    """HDBSCAN (Campello, Moulavi and Sander 2013)."""

    key: ClassVar[str] = "density"
    sample_customers: Annotated[int, Field(ge=100, le=20_000)] = Field(
        5_000,
        description="so many, chosen by hash, are clustered; their core points are what all others are compared with",
    )
    min_shares: Annotated[tuple[Share, ...], Field(min_length=1)] = Field(
        (0.01, 0.02, 0.05, 0.1, 0.2),
        description="smallest clusters that are tried, as shares of the sample; the one of the highest silhouette counts",
    )
    min_samples: Annotated[int, Field(ge=1)] = Field(10, description="neighbours that make a point a core point")


class DensitySegments(FittedSegments):
    """Where customers are dense; those who are near no cluster are a segment of their own."""

    name = "density"
    words = "density clusters"
    section = DensitySettings
    uses = (*FittedSegments.uses, "clm_spark.models.segments.density_served")

    def cluster(self, points: DataFrame, scaler: PipelineModel, settings: Settings) -> Clusters:
        """The clusters of the sample, and `unclear` as the last of all.

        Where no size of clusters makes `k_from` to `k_to` segments, none of them above `max_share`, everybody is in one,
        which wins nothing.
        """
        asked, own = settings.of(SegmentSettings), settings.of(DensitySettings)
        num_different(points, settings=asked)
        sample = sampled_points(points, most=own.sample_customers, seed=asked.seed)
        scale = _scale(scaler)
        tried = [(share, cores_of(sample, min_share=share, settings=own, scale=scale)) for share in own.min_shares]
        candidates = _candidates(tried, sample)
        usable = [place for place, each in enumerate(candidates) if _is_usable(each, asked)]
        if usable:
            best = chosen([candidates[place] for place in usable], settings=asked)
            cores = next(tried[place][1] for place in usable if candidates[place] is best)
            candidates = [each.model_copy(update={"is_chosen": each is best}) for each in candidates]
        else:
            cores = everybody_unclear(scale)

        def save(path: str, numbers: Sequence[int]) -> None:
            write_cores(cores.numbered(numbers), path)
            _describe(path, points)

        assigned = with_nearest(points, cores, name="prediction")
        return Clusters(cores.unclear + 1, assigned, save, tuple(candidates), unclear=cores.unclear)


def cores_of(sample: Floats, *, min_share: float, settings: DensitySettings, scale: Floats) -> Cores:
    """The clusters of scaled points that hold at least `min_share` of them, as core points.

    A cluster reaches as far as the loosest of its core distances, the distance to the `min_samples`-th neighbour.
    """
    from sklearn.cluster import HDBSCAN

    num_neighbours = min(settings.min_samples, len(sample))
    smallest = max(2, round(min_share * len(sample)))
    labels = HDBSCAN(min_cluster_size=smallest, min_samples=num_neighbours, copy=True).fit_predict(sample)
    core_distance = np.reshape(KDTree(sample).query(sample, k=[num_neighbours])[0], -1)
    loosest = {label: core_distance[labels == label].max() for label in range(labels.max() + 1)}
    is_core = labels >= 0
    return Cores(
        points=sample[is_core],
        labels=labels[is_core].astype(np.int64),
        reach=np.array([loosest[label] for label in labels[is_core]]),
        unclear=len(loosest),
        scale=scale,
    )


def everybody_unclear(scale: Floats) -> Cores:
    """No core point at all."""
    none = np.empty((0, len(SCALED)))
    return Cores(none, np.empty(0, dtype=np.int64), np.empty(0), 0, scale)


def _candidates(tried: Sequence[tuple[float, Cores]], sample: Floats) -> list[Candidate]:
    return [
        candidate(sample, cores.assign(sample), words=f"clusters of at least {100 * share:g} % of the sample")
        for share, cores in tried
    ]


def _is_usable(each: Candidate, asked: SegmentSettings) -> bool:
    return asked.k_from <= each.k <= asked.k_to and each.largest_share <= asked.max_share


def _scale(scaler: PipelineModel) -> Floats:
    """What to multiply by; a column that is the same for all becomes 0, as in MLlib."""
    model = next(stage for stage in scaler.stages if isinstance(stage, StandardScalerModel))
    deviation = model.std.toArray()
    scale: Floats = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return scale


def _describe(path: str, points: DataFrame) -> None:
    describe_pyfunc(
        path,
        loader_module="clm_spark.models.segments.density_served",
        inputs={name: points.schema[name].dataType for name in FEATURES},
        outputs={"prediction": T.DoubleType()},
        params={},
        packages=("clm-spark", "pyspark", "pandas", "scipy"),
    )
