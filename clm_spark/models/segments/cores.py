"""Density clusters as a bounded set of core points: a customer is in the cluster of the nearest one, if that is near enough."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf
from scipy.spatial import KDTree

from clm_spark import files
from clm_spark.evaluation.samples import Floats
from clm_spark.models.segments.space import SCALED

Ints = NDArray[np.int64]
CORES = "cores.npz"  # in a version's folder


@dataclass(frozen=True)
class Cores:
    """The points of a sample that lie in clusters, and how far each cluster reaches beyond them.

    `scale` takes a customer's columns of `SCALED` to the space of the points: value * scale. `reach` is the distance up to which a customer belongs to each point's cluster; all others get `unclear`.
    """

    points: Floats
    labels: Ints
    reach: Floats
    unclear: int
    scale: Floats

    @cached_property
    def tree(self) -> KDTree:
        """Finds the nearest point."""
        return KDTree(self.points)

    def assign(self, points: Floats) -> Ints:
        """The label of each point, which must be scaled."""
        if not len(self.points):
            return np.full(len(points), self.unclear)
        distances, nearest = self.tree.query(points)
        return np.where(distances <= self.reach[nearest], self.labels[nearest], self.unclear)

    def numbered(self, numbers: Sequence[int]) -> "Cores":
        """The same with `numbers` in place of the labels 0, 1, ..."""
        given = np.asarray(numbers, dtype=np.int64)
        return replace(self, labels=given[self.labels], unclear=int(given[self.unclear]))


def write_cores(cores: Cores, path: str) -> None:
    """Into a version's folder."""
    content = io.BytesIO()
    names = ("points", "labels", "reach", "unclear", "scale")
    np.savez_compressed(content, allow_pickle=False, **{name: np.asarray(getattr(cores, name)) for name in names})
    files.write_bytes(f"{path}/{CORES}", content.getvalue())


def read_cores(path: str) -> Cores:
    """Those of a version's folder."""
    with np.load(io.BytesIO(files.read_bytes(f"{path}/{CORES}")), allow_pickle=False) as stored:
        arrays = dict(stored)
    return Cores(**{**arrays, "unclear": int(arrays["unclear"])})


def with_nearest(customers: DataFrame, cores: Cores, *, name: str) -> DataFrame:
    """Add `name`, the label of the nearest core point's cluster. Needs the features that segments are cut by.

    The core points, as many as the sample at most, are sent to the workers once.
    """
    sent = customers.sparkSession.sparkContext.broadcast(cores)
    nearest = arrow_udf(_nearest(sent), "int")  # type: ignore[call-overload]
    return customers.withColumn(name, nearest(F.array(*(F.expr(sql) for sql in SCALED.values()))))


def _nearest(sent: Broadcast[Cores]) -> Callable[[Iterator[pa.Array]], Iterator[pa.Array]]:
    def label(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        cores = sent.value
        for batch in batches:
            values = np.asarray(batch.flatten(), dtype=np.float64).reshape(len(batch), len(SCALED))
            yield pa.array(cores.assign(values * cores.scale), pa.int32())

    return label
