"""How far a figure would move had other customers come: intervals, and the paired comparison of two models.

The bootstrap draws customers with replacement and computes every figure again (Efron 1979). Customers are drawn, not
rows: what one customer does on several days is not independent. Every model sees the same draws, so that what moves
all of them, an easy or a hard set of customers, drops out of their difference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clm_spark.evaluation.samples import Counts, Floats, Sample

Points = Mapping[tuple[str, str], float]  # (model, metric): the figure over all customers
# Draws add noise to each tenth, so that a gap never looks small: of 100 samples of 500 the percentiles held the true error
# of a nearly calibrated score in none, and turned round it (2 x figure - percentile) in 64.
WITHOUT_INTERVAL = ("calibration_error", "decile_calibration")  # each a sum of gaps
FEWEST_CUSTOMERS = 20  # of fewer, draws are too much alike: their interval is too narrow, and a mean mostly chance


@dataclass(frozen=True)
class Interval:
    """Where the figure of all customers like these lies, at the level asked for."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """A model's figure minus another's, with its interval."""

    point: float


def intervals(
    sample: Sample,
    metrics: Sequence[str],
    *,
    replicates: int,
    seed: int,
    level: float = 0.95,
    points: Points | None = None,
) -> dict[tuple[str, str], Interval]:
    """The interval of each (model, metric) that has a value in the sample, but for those `WITHOUT_INTERVAL`.

    Percentile intervals. BCa needs the figure without each customer in turn, which AUC and average precision at
    100,000 customers cannot afford, and has no value where all draws agree, as for two equal models; tests hold the
    coverage of the percentiles to the level. `points` are figures over all customers, of whom the sample is a part:
    the interval moves to lie around them as it lies around the sample's own. A single customer has none: every draw is
    the same.
    """
    if sample.num_customers < 2:
        return {}
    asked = [metric for metric in metrics if metric not in WITHOUT_INTERVAL]
    drawn = _drawn_figures(sample, sample.models, asked, replicates=replicates, seed=seed)
    found = {}
    for place, model in enumerate(sample.models):
        for at, metric in enumerate(asked):
            observed, *draws = drawn[:, place, at]
            if not np.isnan(observed):
                shift = (points or {}).get((model, metric), observed) - observed
                low, high = _bounds(np.array(draws), level)
                found[model, metric] = Interval(float(low + shift), float(high + shift))
    return found


def paired_differences(
    sample: Sample,
    metric: str,
    *,
    of: Sequence[str],
    against: str,
    replicates: int,
    seed: int,
    level: float = 0.95,
    points: Points | None = None,
) -> dict[str, Difference]:
    """By how much each of `of` is better than `against`, on the same draws.

    The intervals hold together: with 0.95, all of them hold their truth in 95 of 100 samples, so that the luckiest of many
    equal models is not taken for a better one. Each is the percentile interval, stretched by the ratio of two quantiles of
    the draws' standardised deviations: of the largest among the models, and of the model's own (the single-step maxT of
    Westfall and Young 1993). That of one model alone is its percentile interval.
    """
    drawn = _drawn_figures(sample, (*of, against), [metric], replicates=replicates, seed=seed)[:, :, 0]
    observed, *draws = drawn[:, :-1] - drawn[:, -1:]
    moved = np.abs(np.array(draws) - observed)
    spread = np.nanstd(draws, axis=0)
    moved = np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 0)
    joint = np.nanquantile(np.fmax.reduce(moved, axis=1), level)
    found = {}
    for place, name in enumerate(of):
        own = np.nanquantile(moved[:, place], level)
        stretch = joint / own if own > 0 else 1.0
        low, high = _bounds(np.array(draws)[:, place], level)
        point = observed[place]
        low -= (stretch - 1) * max(0.0, point - low)
        high += (stretch - 1) * max(0.0, high - point)
        of_all = point if points is None else points[name, metric] - points[against, metric]
        shift = of_all - point
        found[name] = Difference(float(low + shift), float(high + shift), float(of_all))
    return found


def resampled(num_customers: int, *, replicates: int, seed: int) -> Iterator[Counts]:
    """How often each customer is drawn, once per replicate."""
    random = np.random.default_rng(seed)
    for _ in range(replicates):
        drawn = random.integers(0, num_customers, num_customers)
        yield np.bincount(drawn, minlength=num_customers).astype(np.float64)


def _drawn_figures(
    sample: Sample, models: Sequence[str], metrics: Sequence[str], *, replicates: int, seed: int
) -> Floats:
    """Draw x model x metric; the first is the sample as it is."""
    once = np.ones(sample.num_customers)
    draws = resampled(sample.num_customers, replicates=replicates, seed=seed)
    return np.stack([sample.figures(models, metrics, counts) for counts in (once, *draws)])


def _bounds(draws: Floats, level: float) -> tuple[float, float]:
    """A draw without a value, all of its customers being of one kind, says nothing."""
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
