"""The k best items of every user, by blocks of a matrix product: shared by ALS and the transformer."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]

BLOCK_CELLS = 16_000_000  # scores held at once: 64 MB of float32


class Cells(NamedTuple):
    """Places in the user x item matrix, in any order."""

    rows: Ints
    columns: Ints


def top_k(
    user_vectors: Floats, item_vectors: Floats, k: int, hidden: Cells | None = None
) -> tuple[NDArray[np.int64], Floats]:
    """The k items with the largest dot products per user, best first, ties to the lower index.

    Gives indices and scores, both users x k. `hidden` cells never appear; a user with fewer than k items left has
    index -1 and score -inf in the places that stay empty.
    """

    def score(users: slice) -> Floats:
        return user_vectors[users] @ item_vectors.T

    return top_k_of_blocks(score, len(user_vectors), len(item_vectors), k, hidden)


def top_k_of_blocks(
    score: Callable[[slice], Floats], num_users: int, num_items: int, k: int, hidden: Cells | None = None
) -> tuple[NDArray[np.int64], Floats]:
    """`top_k` for scores that are more than a dot product: `score(users)` makes the rows of a slice of users."""
    kept = min(k, num_items)
    indices = np.full((num_users, k), -1, dtype=np.int64)
    scores = np.full((num_users, k), -np.inf, dtype=np.float32)
    per_block = max(1, BLOCK_CELLS // max(1, num_items))
    for start in range(0, num_users, per_block):
        users = slice(start, min(start + per_block, num_users))
        block = score(users)
        _hide(block, hidden, users)
        best = _best_columns(block, kept)
        indices[users, :kept] = best
        scores[users, :kept] = np.take_along_axis(block, best, axis=1)
    indices[np.isneginf(scores)] = -1
    return indices, scores


def _hide(block: Floats, hidden: Cells | None, users: slice) -> None:
    if hidden is None:
        return
    here = (hidden.rows >= users.start) & (hidden.rows < users.stop)
    block[hidden.rows[here] - users.start, hidden.columns[here]] = -np.inf


def _best_columns(block: Floats, k: int) -> NDArray[np.int64]:
    chosen = np.sort(np.argpartition(-block, k - 1, axis=1)[:, :k], axis=1)
    last = np.take_along_axis(block, chosen, axis=1).min(axis=1)
    # The partition picks any of the items that tie for the last place: such rows are sorted whole.
    tied = np.flatnonzero((block >= last[:, None]).sum(axis=1) > k)
    chosen[tied] = np.sort(np.argsort(-block[tied], axis=1, kind="stable")[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(block, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)
