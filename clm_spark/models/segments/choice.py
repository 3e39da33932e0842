"""How many segments: by how well customers sit in them, and by whether a fit to other customers finds the same ones.

On a bounded sample of points, on the driver; scikit-learn is imported where it is needed, for it takes seconds.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from clm_spark.evaluation.samples import Floats
from clm_spark.evaluation.silhouette import customer_silhouette
from clm_spark.models.segments.settings import SegmentSettings

Labels = NDArray[np.integer]
Assign = Callable[[Floats], Labels]
Fit = Callable[[Floats, int], Assign]  # points and k to what says which cluster a point is in

DIGITS = 6  # of the figures: further ones depend on the order in which threads add up


class Candidate(BaseModel):
    """What was tried, how many segments it makes, and how good these are on the sample."""

    model_config = ConfigDict(frozen=True)
    words: str
    k: int
    largest_share: float  # of the sample, in the largest segment
    silhouette: float
    stability: float | None = None  # None: not measured
    is_chosen: bool = False


def candidates_for(points: Floats, ks: Iterable[int], *, fit: Fit, settings: SegmentSettings) -> tuple[Candidate, ...]:
    """One candidate per k, the chosen one marked: see `chosen`."""
    from threadpoolctl import threadpool_limits

    tried = []
    # One thread: several add up in an order of their own, and on so few points wait for each other most of the time.
    with threadpool_limits(1):
        for k in ks:
            labels = fit(points, k)(points)
            agreed = stability(points, labels, k, fit=fit, refits=settings.refits, seed=settings.seed)
            tried.append(candidate(points, labels, words=f"k = {k}", stability=round(agreed, DIGITS)))
    best = chosen(tried, settings=settings)
    return tuple(each.model_copy(update={"is_chosen": each is best}) for each in tried)


def candidate(points: Floats, labels: Labels, *, words: str, stability: float | None = None) -> Candidate:
    """How good segments of the sample are."""
    sizes = np.unique(labels, return_counts=True)[1]
    found = float(customer_silhouette(points, labels).mean())
    return Candidate(
        words=words,
        k=len(sizes),
        largest_share=float(sizes.max() / len(points)),
        silhouette=round(found, DIGITS),
        stability=stability,
    )


def chosen(candidates: Sequence[Candidate], *, settings: SegmentSettings) -> Candidate:
    """The highest silhouette among those at least so stable; where none is, the most stable. The fewest segments where they tie.

    One that puts more than `max_share` of the customers into one segment does not count, unless all do: a silhouette is
    high where a few outliers are cut off. One whose stability was not measured counts as stable.
    """
    even = [each for each in candidates if each.largest_share <= settings.max_share] or candidates
    stable = [each for each in even if each.stability is None or each.stability >= settings.min_stability]
    if stable:
        return max(stable, key=lambda each: each.silhouette)
    return max(even, key=lambda each: each.stability or -1.0)


def stability(points: Floats, labels: Labels, k: int, *, fit: Fit, refits: int, seed: int) -> float:
    """How far refits agree with `labels`: the mean adjusted Rand index, 1 where they always do, about 0 by chance.

    Each refit sees a bootstrap sample of the points and then assigns all of them (the scheme of Hennig 2007, with the
    index of Hubert and Arabie 1985 in place of Jaccard's).
    """
    from sklearn.metrics import adjusted_rand_score

    drawn = _resamples(len(points), refits=refits, seed=seed)
    agreed = [adjusted_rand_score(labels, fit(points[draw], k)(points)) for draw in drawn]
    return float(np.mean(agreed))


def kmeans_of_sample(*, starts: int, seed: int) -> Fit:
    """Lloyd's K-Means from k-means++ starts: what MLlib's does, in memory."""
    from sklearn.cluster import KMeans

    return lambda points, k: _quietly(KMeans(n_clusters=k, n_init=starts, random_state=seed), points)


def bisecting_of_sample(*, starts: int, seed: int) -> Fit:
    """Bisecting K-Means that halves the largest cluster first, as MLlib's."""
    from sklearn.cluster import BisectingKMeans

    asked = {"n_init": starts, "random_state": seed, "bisecting_strategy": "largest_cluster"}
    return lambda points, k: _quietly(BisectingKMeans(n_clusters=k, **asked), points)


def _quietly(model: object, points: Floats) -> Assign:
    """Fit without a warning where a resample has fewer different points than k."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(points).predict  # type: ignore[attr-defined, no-any-return]


def _resamples(num_points: int, *, refits: int, seed: int) -> Iterator[NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    for _ in range(refits):
        yield random.integers(0, num_points, num_points)
