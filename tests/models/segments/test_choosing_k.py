import numpy as np
import pytest

from clm_spark.models.segments.choice import (
    Candidate,
    bisecting_of_sample,
    candidates_for,
    chosen,
    kmeans_of_sample,
    stability,
)
from clm_spark.models.segments.settings import SegmentSettings


def groups(*centres, spread=0.3, each=80):
    random = np.random.default_rng(3)
    return np.concatenate([random.normal(centre, spread, size=(each, 2)) for centre in centres])


def rand_by_pairs(one, other):
    """The adjusted Rand index by its definition: over all pairs of points (Hubert and Arabie 1985)."""
    pairs = np.triu_indices(len(one), 1)
    in_one, in_other = (one[:, None] == one)[pairs], (other[:, None] == other)[pairs]
    together, of_one, of_other, num_pairs = (in_one & in_other).sum(), in_one.sum(), in_other.sum(), len(in_one)
    by_chance = of_one * of_other / num_pairs
    return (together - by_chance) / ((of_one + of_other) / 2 - by_chance)


@pytest.mark.parametrize("fit", [kmeans_of_sample, bisecting_of_sample])
def test_planted_groups_are_counted_and_found_again(fit):
    points = groups((0, 0), (4, 0), (0, 4), (9, 9))
    found = candidates_for(points, range(3, 7), fit=fit(starts=3, seed=7), settings=SegmentSettings())
    assert [each.k for each in found] == [3, 4, 5, 6]
    best = next(each for each in found if each.is_chosen)
    assert best.k == 4
    assert best.stability == pytest.approx(1, abs=0.02)
    assert best.stability > found[2].stability + 0.05, "which of the groups is cut in two depends on who is drawn"
    again = candidates_for(points, range(3, 7), fit=fit(starts=3, seed=7), settings=SegmentSettings())
    assert again == found


def test_stability_is_the_mean_adjusted_rand_index_of_refits():
    points = groups((0, 0), (1, 0), (0, 1))
    fit = kmeans_of_sample(starts=2, seed=7)
    labels = fit(points, 3)(points)
    found = stability(points, labels, 3, fit=fit, refits=4, seed=5)
    random = np.random.default_rng(5)
    draws = [random.integers(0, len(points), len(points)) for _ in range(4)]
    expected = np.mean([rand_by_pairs(labels, fit(points[draw], 3)(points)) for draw in draws])
    assert found == pytest.approx(expected)
    assert 0.3 < found < 0.99, "not an easy case"


def test_a_uniform_square_has_no_stable_number_of_groups():
    square = np.random.default_rng(1).uniform(size=(300, 2))
    fit = kmeans_of_sample(starts=1, seed=7)
    found = candidates_for(square, range(3, 9), fit=fit, settings=SegmentSettings(refits=6, min_stability=0.99))
    assert all(each.stability < 0.99 for each in found)
    assert max(found, key=lambda each: each.stability).is_chosen


def test_silhouette_decides_among_the_stable_and_stability_where_none_is():
    def tried(*figures):
        return [Candidate(words="", k=k, silhouette=s, stability=a, largest_share=m) for k, s, a, m in figures]

    cases = [  # k, silhouette, stability, share of the largest; the k that is right
        ("they agree", [(3, 0.5, 0.9, 0.5), (4, 0.4, 0.8, 0.5)], 3),
        ("the best is not stable", [(3, 0.5, 0.6, 0.5), (4, 0.4, 0.9, 0.5), (5, 0.3, 0.99, 0.5)], 4),
        ("stable enough is enough", [(3, 0.4, 1.0, 0.5), (4, 0.5, 0.8, 0.5)], 4),
        ("none is stable", [(3, 0.5, 0.4, 0.5), (4, 0.2, 0.7, 0.5), (5, 0.4, 0.6, 0.5)], 4),
        ("they tie", [(3, 0.5, 0.9, 0.5), (4, 0.5, 0.95, 0.5)], 3),
        ("stability was not measured", [(3, 0.5, None, 0.5), (4, 0.4, None, 0.5)], 3),
        ("the best cuts off outliers", [(3, 0.7, 0.99, 0.95), (4, 0.4, 0.9, 0.5)], 4),
        ("all cut off outliers", [(3, 0.7, 0.99, 0.95), (4, 0.4, 0.9, 0.9)], 3),
    ]
    found = {name: chosen(tried(*figures), settings=SegmentSettings()).k for name, figures, _ in cases}
    assert found == {name: k for name, _, k in cases}
