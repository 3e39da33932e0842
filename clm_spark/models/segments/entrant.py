"""What all fitted entrants do: cut customers into clusters, number and name these, and write down what was tried."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession

from clm_spark import files
from clm_spark.models.fixed_order import in_fixed_order
from clm_spark.models.registry.flavours import load_spark_pipeline
from clm_spark.models.segments.choice import Candidate
from clm_spark.models.segments.cores import CORES, read_cores, with_nearest
from clm_spark.models.segments.facts import Facts, read_facts, write_facts
from clm_spark.models.segments.names import names_for, portraits_of
from clm_spark.models.segments.numbers import numbers_for
from clm_spark.models.segments.settings import SegmentSettings
from clm_spark.models.segments.space import FEATURES, SCALED, scaling
from clm_spark.models.segments.task import Segmentation
from clm_spark.models.segments.tree import Tree, branches_of
from clm_spark.models.task import Inputs, Model
from clm_spark.session import persisted
from clm_spark.settings import Section, Settings

SHARED = tuple(
    f"clm_spark.models.{module}"
    for module in (
        "fixed_order",
        *(f"segments.{name}" for name in ("choice", "cores", "facts", "names", "numbers", "space", "tree")),
    )
)


@dataclass(frozen=True)
class Clusters:
    """What a fit found: `customers` with `prediction`, 0 to k - 1."""

    k: int
    customers: DataFrame
    save: Callable[[str, Sequence[int]], None]  # writes into a folder what scores with these numbers
    candidates: tuple[Candidate, ...]
    unclear: int | None = None


class FittedSegments(Model):
    """An entrant that is fitted. Its answers are the rows asked about with `segment`."""

    task = Segmentation.name
    section: ClassVar[type[Section] | None] = SegmentSettings
    features = FEATURES
    uses = SHARED

    @abstractmethod
    def cluster(self, points: DataFrame, scaler: PipelineModel, settings: Settings) -> Clusters:
        """Cut customers, who are in a fixed order with their `scaled` points, into clusters.

        Raises `TooLittleDataError` where they are at no more than `k_from` different points.
        """

    def tree(self, spark: SparkSession, path: str) -> Tree:
        """The hierarchy of the clusters of a version that is saved; most entrants have none."""
        return {}

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Cluster, and take over the numbers and names of the segments in use where customers are the same."""
        before = read_facts(incumbent)
        in_use = assigned_by(incumbent, inputs.rows) if incumbent else None
        # Where the centres start depends on place and order.
        ordered = in_fixed_order(inputs.rows, "customer_id")
        scaler = scaling().fit(ordered)
        with persisted(scaler.transform(ordered).select("customer_id", *FEATURES, *SCALED, "scaled")) as points:
            found = self.cluster(points, scaler, inputs.settings)
            with persisted(found.customers) as clustered:
                numbers = numbers_for(clustered, found.k, in_use=in_use, first_free=before.next_number)
            found.save(path, numbers)
        assigned = assigned_by(path, inputs.rows)
        unclear = None if found.unclear is None else numbers[found.unclear]
        write_facts(
            Facts(
                next_number=max([before.next_number - 1, *numbers]) + 1,
                names=names_for(portraits_of(assigned), in_use=before.names, unclear=unclear),
                branches=branches_of(self.tree(inputs.lake.spark, path), numbers),
                unclear=unclear,
                candidates=found.candidates,
            ),
            path,
        )

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """The rows with `segment`."""
        return assigned_by(path, inputs.rows)


def assigned_by(path: str, customers: DataFrame) -> DataFrame:
    """Customers with `segment` by the version in a folder, whichever entrant wrote it."""
    if files.exists(f"{path}/{CORES}"):
        return with_nearest(customers, read_cores(path), name="segment")
    return load_spark_pipeline(path).transform(customers).select(*customers.columns, "segment")
