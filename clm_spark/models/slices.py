"""How well the served classifier does for groups of customers, and for which it does worst."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from clm_spark.evaluation.bootstrap import Interval, intervals
from clm_spark.evaluation.samples import Groups, ScoredLabels
from clm_spark.models.comparison import SampledComparison
from clm_spark.tables.catalog import SLICE_METRICS
from clm_spark.tables.contract import Table

log = logging.getLogger(__name__)

METRICS = ("auc", "average_precision", "brier", "calibration_error")
FEWEST_OF_A_KIND = 20  # with fewer, a group's AUC is mostly chance
ROWS = "slice string, customers string, metric string, value double, low double, high double, num_tested bigint, is_worst boolean"


def tenure_groups(days: pd.Series) -> pd.Series:
    """New, settled and old customers, by `tenure_days`."""
    limits = [-np.inf, 90, 365, np.inf]
    return pd.cut(days, limits, right=False, labels=["under 90 days", "90 to 364 days", "365 days and more"])


def value_groups(cents: pd.Series) -> pd.Series:
    """Thirds by net revenue of the last 90 days; equal revenue is in one third."""
    low, high = cents.quantile([1 / 3, 2 / 3])
    return pd.cut(cents, [-np.inf, low, high, np.inf], labels=["lowest third", "middle third", "highest third"],
                  duplicates="drop", ordered=False) if low < high else cents.map(lambda _: "all alike")  # fmt: skip


def rfm_groups(cells: pd.Series) -> pd.Series:
    """The named cells of recency, frequency and money, among the tested customers."""
    return cells.str.replace("_", " ")


RFM_CELL = "rfm_cell"

# By the name of the slice: the feature that decides, and how.
SLICES: Groups = {
    "tenure": ("tenure_days", tenure_groups),
    "value_tier": ("net_revenue_90d_cents", value_groups),
    "segment": (RFM_CELL, rfm_groups),
}
SLICED_BY = tuple(feature for feature, _ in SLICES.values())


@dataclass(frozen=True)
class Slice:
    """A group of the tested customers, with the figures of one model on it."""

    name: str
    customers: str
    labels: ScoredLabels
    figures: dict[str, float]
    bounds: dict[str, Interval]

    @property
    def can_tell(self) -> bool:
        """Whether there are enough customers of either kind for an AUC to say something."""
        curve = next(iter(self.labels.curves.values()))
        positives = len(curve.positives)
        return min(positives, len(curve.customers) - positives) >= FEWEST_OF_A_KIND

    def interval(self, metric: str) -> tuple[float | None, float | None]:
        """Its bounds; none where the metric has no interval."""
        bounds = self.bounds.get(metric)
        return (bounds.low, bounds.high) if bounds else (None, None)

    def __str__(self) -> str:
        auc = f"AUC {self.figures['auc']:.3f}"
        return f"{self.name} {self.customers}: {auc} ({self.bounds['auc'].low:.3f} to {self.bounds['auc'].high:.3f})"


@dataclass(frozen=True)
class ClassifierComparison(SampledComparison):
    """A comparison of classifiers, with the winner's figures by group of customers."""

    score: str = ""
    spark: SparkSession | None = None

    def of_score(self, score: str, spark: SparkSession) -> Self:
        """The same, with the name of the score, and the session that its tables are written in."""
        return replace(self, score=score, spark=spark)

    def reports_on(self, winner: str) -> Iterator[tuple[Table, DataFrame]]:
        """The winner's rows of gold.slice_metrics; the worst group is named in the log."""
        assert self.spark is not None
        slices = list(self._slices(winner))
        worst = min((each for each in slices if each.can_tell), key=lambda each: each.figures["auc"], default=None)
        if worst is not None:
            log.info("%s: %s does worst for %s, of %d customers", self.score, winner, worst, worst.labels.num_customers)
        rows = [
            (each.name, each.customers, metric, value, *each.interval(metric), each.labels.num_customers, each is worst)
            for each in slices for metric, value in each.figures.items()
        ]  # fmt: skip
        named = self.spark.createDataFrame(rows, ROWS).selectExpr(
            "*", f"'{self.score}' AS score", f"'{winner}' AS model"
        )
        yield SLICE_METRICS, named

    def _slices(self, winner: str) -> Iterator[Slice]:
        assert isinstance(self.sample, ScoredLabels)
        asked = self.settings
        for (name, customers), labels in self.sample.groups.items():
            own = replace(labels, curves={winner: labels.curves[winner]})
            found = intervals(own, METRICS, replicates=asked.replicates, seed=asked.seed)
            bounds = {metric: interval for (_, metric), interval in found.items()}
            (values,) = own.figures((winner,), METRICS, np.ones(own.num_customers))
            figures = {
                metric: float(value) for metric, value in zip(METRICS, values, strict=True) if np.isfinite(value)
            }
            yield Slice(name, customers, own, figures, bounds)
