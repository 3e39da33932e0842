"""Factor analysis of a sample in memory: how many factors, what they load on, and which is which of the fit before."""

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from clm_spark.evaluation.samples import Floats
from clm_spark.settings import FactorSettings

MOST_ALIKE = 0.98  # two measures of a higher correlation are one, which would be a factor of its own

SALIENT = 0.4  # from here on a measure counts as loaded on


@dataclass(frozen=True)
class Factors:
    """Loadings and weights, factor x measure: score = weights @ (measures - mean) / deviation. `numbers` name the factors."""

    numbers: tuple[int, ...]
    features: tuple[str, ...]
    loadings: Floats
    weights: Floats
    mean: Floats
    deviation: Floats


def fit_factors(measures: Floats, names: Sequence[str], *, settings: FactorSettings) -> Factors | None:
    """Factors 1, 2, ... of customer x measure, by how much they explain; None where there are too few customers or measures.

    NaN counts as the measure's mean. Measures that are the same for all, or nearly those of another, are left out. Maximum
    likelihood (Rubin and Thayer 1982) with varimax (Kaiser 1958); scores are the factors' expectation given the measures
    (Thomson's regression). As many as the parallel analysis allows, or fewer: until each loads on two measures at least, for
    a factor of one is that measure. A factor's sign is that of its large loadings.
    """
    from threadpoolctl import threadpool_limits

    chosen, filled = _usable(measures)
    if len(measures) < settings.min_customers or len(chosen) < 3:
        return None
    mean, deviation = filled.mean(axis=0), filled.std(axis=0)
    points = (filled - mean) / deviation
    with threadpool_limits(1):  # several threads add up in an order of their own
        num_factors = num_factors_by_parallel_analysis(points, settings=settings)
        # A covariance of p measures has room for fewer factors than p / 2.
        most = min(num_factors, settings.most, max(1, (len(chosen) - 1) // 2))
        model = next(fit for fit in _fits(points, most) if len(fit.components_) == 1 or _are_shared(fit.components_))
    loadings = np.asarray(model.components_)
    order = np.argsort(-(loadings**2).sum(axis=1), kind="stable")
    loadings = loadings[order] * np.sign((loadings[order] ** 3).sum(axis=1, keepdims=True))
    weighed = loadings / model.noise_variance_
    weights = np.linalg.solve(np.eye(len(loadings)) + weighed @ loadings.T, weighed)
    features = tuple(names[place] for place in chosen)
    return Factors(tuple(range(1, len(loadings) + 1)), features, loadings, weights, mean, deviation)


def num_factors_by_parallel_analysis(points: Floats, *, settings: FactorSettings) -> int:
    """How many eigenvalues of the correlations are above the 95th percentile of those of random numbers; 1 at least.

    Counted from the largest until the first that is not (Horn 1965, with the percentile of Glorfeld 1995).
    """
    random = np.random.default_rng(settings.seed)
    by_chance = [_eigenvalues(random.normal(size=points.shape)) for _ in range(settings.random_samples)]
    is_above = _eigenvalues(points) > np.percentile(by_chance, 95, axis=0)
    return max(1, int(np.argmin(np.append(is_above, False))))


def numbered_as(found: Factors, before: Factors, *, first_free: int, settings: FactorSettings) -> Factors:
    """The same factors with the numbers and signs of those of a fit before that load alike; others get new numbers.

    Alike by Tucker's congruence of their loadings, of either sign, over the measures that both know (Lorenzo-Seva and ten
    Berge 2006 call .85 to .94 fair similarity). A number that was ever in use, below
    `first_free`, is not given to another factor.
    """
    shared = [name for name in found.features if name in before.features]
    ours, theirs = (_loadings_on(each, shared) for each in (found, before))
    congruence = ours @ theirs.T
    rows, columns = linear_sum_assignment(np.abs(congruence), maximize=True)
    same = {
        row: column
        for row, column in zip(rows, columns, strict=True)
        if abs(congruence[row, column]) >= settings.same_congruence
    }
    free = itertools.count(first_free)
    places = range(len(found.numbers))
    numbers = tuple(before.numbers[same[row]] if row in same else next(free) for row in places)
    signs = np.array([[np.sign(congruence[row, same[row]]) if row in same else 1.0] for row in places])
    return Factors(numbers, found.features, found.loadings * signs, found.weights * signs, found.mean, found.deviation)


def in_words(loadings: Mapping[str, float], words: Mapping[str, str], *, most: int = 4) -> str:
    """The measures that a factor loads on most, `not` before those that it is against: `more orders, not a longer silence`."""
    ordered = sorted(loadings, key=lambda name: (-abs(loadings[name]), name))
    told = [name for name in ordered if abs(loadings[name]) >= SALIENT][:most] or ordered[:1]
    return ", ".join(words[name] if loadings[name] > 0 else f"not {words[name]}" for name in told)


def _fits(points: Floats, most: int) -> Iterator[Any]:
    """Fits of fewer and fewer factors."""
    from sklearn.decomposition import FactorAnalysis

    for num_factors in range(most, 0, -1):
        model = FactorAnalysis(num_factors, rotation="varimax", svd_method="lapack", max_iter=2000)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # one that does not converge has a measure of its own, and gives way to fewer
            yield model.fit(points)


def _are_shared(loadings: Floats) -> bool:
    """Whether every factor loads on two measures at least."""
    return bool(((np.abs(loadings) >= SALIENT).sum(axis=1) >= 2).all())


def _usable(measures: Floats) -> tuple[list[int], Floats]:
    """The columns that differ between customers and from each other, and the sample of them without gaps."""
    known = ~np.isnan(measures)
    means = np.divide(np.where(known, measures, 0).sum(axis=0), np.maximum(known.sum(axis=0), 1))
    filled = np.where(known, measures, means)
    differ = [int(place) for place in np.flatnonzero(filled.std(axis=0) > 1e-9)]
    if not differ:
        return [], filled[:, []]
    alike = np.abs(np.atleast_2d(np.corrcoef(filled[:, differ], rowvar=False)))
    chosen: list[int] = []
    for row in range(len(differ)):
        if not any(alike[row, other] > MOST_ALIKE for other in chosen):
            chosen.append(row)
    places = [differ[row] for row in chosen]
    return places, filled[:, places]


def _eigenvalues(points: Floats) -> Floats:
    """Of the correlations, the largest first."""
    return np.asarray(np.linalg.eigvalsh(np.corrcoef(points, rowvar=False))[::-1])


def _loadings_on(factors: Factors, features: Sequence[str]) -> Floats:
    """Loadings on these measures, each factor at length 1."""
    loadings = factors.loadings[:, [factors.features.index(name) for name in features]]
    length = np.linalg.norm(loadings, axis=1, keepdims=True)
    return np.asarray(np.divide(loadings, length, out=np.zeros_like(loadings), where=length > 0))
