"""Shapley values of trees against their definition, by all orders in which features may become known, and XGBoost's."""

from itertools import permutations

import numpy as np
import pytest

from clm_spark.models.tree_shap import Leaf, contributions

NUM_FEATURES = 5


def drawn_tree(drawn, *, depth):
    """Nested (feature, threshold, cover, left, right), or (value, cover)."""
    if depth == 0 or drawn.random() < 0.15:
        return float(drawn.normal()), int(drawn.integers(1, 40))
    left, right = (drawn_tree(drawn, depth=depth - 1) for _ in range(2))
    return int(drawn.integers(NUM_FEATURES)), float(drawn.normal()), cover(left) + cover(right), left, right


def cover(tree):
    return tree[1] if len(tree) == 2 else tree[2]


def leaves_of(tree, path=()):
    if len(tree) == 2:
        bounds = {}
        for feature, low, high, share in path:
            held = bounds.get(feature, (-np.inf, np.inf, 1.0))
            bounds[feature] = (max(held[0], low), min(held[1], high), held[2] * share)
        columns = list(zip(*bounds.values(), strict=True)) or [(), (), ()]
        return [Leaf(tree[0], tuple(bounds), *map(tuple, columns))]
    feature, threshold, total, left, right = tree
    return [
        *leaves_of(left, (*path, (feature, -np.inf, threshold, cover(left) / total))),
        *leaves_of(right, (*path, (feature, threshold, np.inf, cover(right) / total))),
    ]


def expected(tree, row, known):
    """The answer where only the `known` features are."""
    if len(tree) == 2:
        return tree[0]
    feature, threshold, total, left, right = tree
    if feature in known:
        return expected(left if row[feature] <= threshold else right, row, known)
    return (cover(left) * expected(left, row, known) + cover(right) * expected(right, row, known)) / total


@pytest.mark.parametrize("seed", range(6))
def test_values_are_the_mean_of_what_each_feature_adds_over_all_orders(seed):
    drawn = np.random.default_rng(seed)
    trees = [drawn_tree(drawn, depth=depth) for depth in (0, 1, 3, 5)]
    rows = drawn.normal(size=(4, NUM_FEATURES))
    found = contributions([leaf for tree in trees for leaf in leaves_of(tree)], rows)
    for row, of_row in zip(rows, found, strict=True):
        right = np.zeros(NUM_FEATURES)
        orders = list(permutations(range(NUM_FEATURES)))
        for order in orders:
            for place, feature in enumerate(order):
                before, after = set(order[:place]), {*order[: place + 1]}
                right[feature] += sum(expected(t, row, after) - expected(t, row, before) for t in trees) / len(orders)
        assert of_row == pytest.approx(right, abs=1e-12)
        answer = sum(expected(t, row, set(range(NUM_FEATURES))) - expected(t, row, set()) for t in trees)
        assert of_row.sum() == pytest.approx(answer, abs=1e-12)


def test_many_rows_are_those_of_one_at_a_time(monkeypatch):
    drawn = np.random.default_rng(9)
    leaves, rows = leaves_of(drawn_tree(drawn, depth=6)), drawn.normal(size=(50, NUM_FEATURES))
    whole = contributions(leaves, rows)
    monkeypatch.setattr("clm_spark.models.tree_shap.CELLS_AT_ONCE", 7)
    assert contributions(leaves, rows) == pytest.approx(whole, abs=1e-15)
