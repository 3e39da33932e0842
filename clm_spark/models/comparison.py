"""What came of a test: figures over all customers, and intervals from a bootstrap over a bounded sample of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Self

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.evaluation.bootstrap import intervals, paired_differences
from clm_spark.evaluation.samples import Sample
from clm_spark.models.task import Comparison, Figure, Lead
from clm_spark.settings import EvaluationSettings
from clm_spark.tables.contract import Table

TWO_SIDED_95 = 1.959964


@dataclass(frozen=True)
class SampledComparison(Comparison):
    """Figures with their intervals, and the sample that paired differences come from."""

    figures: tuple[Figure, ...]
    sample: Sample
    decided_by: str
    settings: EvaluationSettings
    further: Sequence[tuple[Table, DataFrame]] = ()

    @classmethod
    def of(
        cls,
        figures: DataFrame,
        sample: Sample,
        *,
        decided_by: str,
        settings: EvaluationSettings,
        further: Sequence[tuple[Table, DataFrame]] = (),
        beside_sample: Sequence[str] = (),
    ) -> Self:
        """From `figures`, a row of model, metric, value and num_tested each: bounded by models times metrics.

        Those of `beside_sample` are not in the sample: their interval follows from the `error` of their figures, the
        standard error, where they have one.
        """
        rows = figures.orderBy("model", "metric").collect()
        points = {(row.model, row.metric): row.value for row in rows}
        metrics = sorted({row.metric for row in rows} - {*beside_sample})
        asked = {"replicates": settings.replicates, "seed": settings.seed}
        found = intervals(sample, metrics, points=points, **asked)
        bounds = {name: (interval.low, interval.high) for name, interval in found.items()}
        for row in rows:
            if row.metric in beside_sample and row.error is not None:
                half = TWO_SIDED_95 * row.error
                bounds[row.model, row.metric] = (max(0.0, row.value - half), row.value + half)
        measured = tuple(
            Figure(row.model, row.metric, row.value, row.num_tested, *bounds.get((row.model, row.metric), (None, None)))
            for row in rows
        )
        return cls(measured, sample, decided_by, settings, further)

    def leads(self, of: Sequence[str], over: str) -> dict[str, Lead]:
        """By the same resampled customers for all."""
        if not of:
            return {}
        points = {(figure.model, figure.metric): figure.value for figure in self.figures}
        asked = {"replicates": self.settings.replicates, "seed": self.settings.seed}
        found = paired_differences(self.sample, self.decided_by, of=of, against=over, points=points, **asked)
        return {name: Lead(each.point, each.low, each.high) for name, each in found.items()}

    def reports(self) -> Iterator[tuple[Table, DataFrame]]:
        """As the task gave them."""
        return iter(self.further)


def stacked(frames: Mapping[str, DataFrame]) -> DataFrame:
    """The rows of all frames, with the name of theirs in `model`."""
    named = (frame.withColumn("model", F.lit(name)) for name, frame in frames.items())
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), named)


def on_driver(few: DataFrame) -> DataFrame:
    """A few rows per model, computed while the tested customers are still persisted."""
    return few.sparkSession.createDataFrame(few.collect(), few.schema)
