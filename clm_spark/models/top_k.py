"""The k best items of every user, by blocks of a matrix product: shared by ALS and the transformer."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]

BLOCK_CELLS = 8_000_000  # scores held at once: 32 MB of float32
GROUPS_PER_PLACE = 16  # more make the bound sharper and its own partition dearer


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
    by_factor = np.ascontiguousarray(item_vectors.T)
    num_users, num_items = len(user_vectors), len(item_vectors)
    # Written over by each block: fresh pages would cost as much as the product.
    held = np.empty((min(num_users, _block_length(num_items)), num_items), np.result_type(user_vectors, item_vectors))

    def score(users: slice) -> Floats:
        return np.matmul(user_vectors[users], by_factor, out=held[: users.stop - users.start])

    return top_k_of_blocks(score, num_users, num_items, k, hidden)


def top_k_of_blocks(
    score: Callable[[slice], Floats], num_users: int, num_items: int, k: int, hidden: Cells | None = None
) -> tuple[NDArray[np.int64], Floats]:
    """`top_k` for scores that are more than a dot product: `score(users)` makes the rows of a slice of users."""
    indices = np.full((num_users, k), -1, dtype=np.int64)
    scores = np.full((num_users, k), -np.inf, dtype=np.float32)
    per_block = _block_length(num_items)
    for start in range(0, num_users, per_block):
        users = slice(start, min(start + per_block, num_users))
        block = score(users)
        _hide(block, hidden, users)
        rows, places, columns = best_cells(block, min(k, num_items))
        indices[start + rows, places] = columns
        scores[start + rows, places] = block[rows, columns]
    return indices, scores


def _block_length(num_items: int) -> int:
    return max(1, BLOCK_CELLS // max(1, num_items))


def _hide(block: Floats, hidden: Cells | None, users: slice) -> None:
    if hidden is None:
        return
    here = (hidden.rows >= users.start) & (hidden.rows < users.stop)
    block[hidden.rows[here] - users.start, hidden.columns[here]] = -np.inf


def best_cells(block: Floats, k: int, *, above: float = -np.inf) -> tuple[Ints, Ints, Ints]:
    """Row, place (from 0) and column of the k largest scores of each row; cells of `above` or less have no place."""
    # Every item that ties for the last place reaches the bound, and stands in the order of its columns.
    bounds = np.maximum(_lower_bounds(block, k), np.nextafter(block.dtype.type(above), block.dtype.type(np.inf)))
    reached = np.flatnonzero(block >= bounds[:, None])
    rows, columns = np.divmod(reached, block.shape[1])
    order = np.lexsort((-block[rows, columns], rows))
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    is_listed = places < k
    return rows[is_listed], places[is_listed], columns[order][is_listed]


def _lower_bounds(block: Floats, k: int) -> Floats:
    """Per row a score that the k best reach, and few others: the k-th largest of maxima of disjoint columns.

    A partition of the row itself is exact and takes four times as long as the matrix product.
    """
    num_items = block.shape[1]
    num_groups = min(GROUPS_PER_PLACE * k, num_items)
    rest = num_items % num_groups
    maxima = block[:, : num_items - rest].reshape(len(block), -1, num_groups).max(axis=1)
    np.maximum(maxima[:, :rest], block[:, num_items - rest :], out=maxima[:, :rest])
    bounds: Floats = np.partition(maxima, num_groups - k, axis=1)[:, num_groups - k]
    return bounds
