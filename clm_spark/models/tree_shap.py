"""What each feature adds to the answer of trees: exact Shapley values in double precision, a leaf at a time.

Lundberg and others (2020), "From local explanations to global understanding with explainable AI for trees", the path-dependent
values: a feature that is not known sends a row down both sides of a question, weighted by how many rows of the training went
there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELLS_AT_ONCE = 2_000_000  # rows x leaves: 16 MB an array, of which some ten are held


@dataclass(frozen=True)
class Leaf:
    """A leaf as its path says it: of each feature asked about, the bounds, and what share of the rows passed its questions.

    A row comes here where low < x <= high of every feature. The feature's share is the product of that of its questions.
    """

    value: float
    features: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    share: tuple[float, ...]


def contributions(leaves: Sequence[Leaf], rows: Floats) -> Floats:
    """Rows x features: what each feature adds to the sum of all trees' values, beside a number that is the same for all."""
    found = np.zeros(rows.shape)
    by_length: dict[int, list[Leaf]] = {}
    for leaf in leaves:
        by_length.setdefault(len(leaf.features), []).append(leaf)
    for length, group in by_length.items():
        if not length:  # the tree is a root
            continue
        step = max(1, CELLS_AT_ONCE // len(group))
        for begin in range(0, len(rows), step):
            found[begin : begin + step] += _of_leaves(group, rows[begin : begin + step])
    return found


def _of_leaves(leaves: Sequence[Leaf], rows: Floats) -> Floats:
    """Of leaves whose paths ask about equally many features.

    The share of the rows that come to a leaf, once the features of a set S are known, is the product of o over S and of z over
    the others: o is whether the row is within the bounds, z the feature's share. A feature's Shapley value is (o - z) times
    the sum, over sets S of k of the m - 1 others, of k! (m - 1 - k)! / m! times their product, which is coefficient k of the
    product of (z + o y) over the others.
    """
    at = np.array([leaf.features for leaf in leaves])  # leaves x m
    low, high, share = (np.array([getattr(leaf, name) for leaf in leaves]) for name in ("low", "high", "share"))
    values, length = np.array([leaf.value for leaf in leaves]), at.shape[1]
    asked = rows[:, at]
    is_within = ((asked > low) & (asked <= high)).astype(np.float64)  # rows x leaves x m
    weights = [factorial(k) * factorial(length - 1 - k) / factorial(length) for k in range(length)]
    found = np.zeros(rows.shape)
    for own in range(length):
        powers = [np.ones(is_within.shape[:2])]
        for other in (n for n in range(length) if n != own):
            known, unknown = is_within[:, :, other], share[:, other]
            raised = [np.zeros_like(powers[0]), *(power * known for power in powers)]
            powers = [power * unknown for power in powers] + [np.zeros_like(powers[0])]
            powers = [plain + more for plain, more in zip(powers, raised, strict=True)]
        together = sum(weight * power for weight, power in zip(weights, powers, strict=True))
        added = values * (is_within[:, :, own] - share[:, own]) * together
        for feature in np.unique(at[:, own]):
            found[:, feature] += added[:, at[:, own] == feature].sum(axis=1)
    return found
