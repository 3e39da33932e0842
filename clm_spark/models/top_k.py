"""The k best items of every user, by blocks of a matrix product: shared by ALS and the transformer."""

from collections.abc import Callable
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]

BLOCK_CELLS = 4_000_000  # scores held at once: 16 MB of float32
FEWEST_GROUPS = 4  # per place of a list: fewer make too low a bound


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
    held = np.empty((min(num_users, block_length(num_items)), num_items), np.result_type(user_vectors, item_vectors))

    def score(users: slice) -> Floats:
        return np.matmul(user_vectors[users], by_factor, out=held[: users.stop - users.start])

    return top_k_of_blocks(score, num_users, num_items, k, hidden)


def top_k_of_blocks(
    score: Callable[[slice], Floats],
    num_users: int,
    num_items: int,
    k: int,
    hidden: Cells | None = None,
    *,
    most_at_once: int | None = None,
) -> tuple[NDArray[np.int64], Floats]:
    """`top_k` for scores that are more than a dot product: `score(users)` makes the rows of a slice of users.

    A slice has as many users as a block holds, `most_at_once` at most.
    """
    indices = np.full((num_users, k), -1, dtype=np.int64)
    scores = np.full((num_users, k), -np.inf, dtype=np.float32)
    per_block = min(block_length(num_items), most_at_once or BLOCK_CELLS)
    for start in range(0, num_users, per_block):
        users = slice(start, min(start + per_block, num_users))
        block = score(users)
        _hide(block, hidden, users)
        rows, places, columns = best_cells(block, min(k, num_items))
        indices[start + rows, places] = columns
        scores[start + rows, places] = block[rows, columns]
    return indices, scores


def block_length(num_items: int) -> int:
    """How many users are scored at once."""
    return max(1, BLOCK_CELLS // max(1, num_items))


def _hide(block: Floats, hidden: Cells | None, users: slice) -> None:
    if hidden is None:
        return
    here = (hidden.rows >= users.start) & (hidden.rows < users.stop)
    block[hidden.rows[here] - users.start, hidden.columns[here]] = -np.inf


def best_cells(block: Floats, k: int, *, above: float = -np.inf) -> tuple[Ints, Ints, Ints]:
    """Row, place (from 0) and column of the k largest scores of each row; cells of `above` or less have no place."""
    maxima = _group_maxima(block, k)
    # Every item that ties for the last place reaches the bound, and stands in the order of its columns.
    least = np.nextafter(block.dtype.type(above), block.dtype.type(np.inf))
    bounds = np.maximum(_kth_largest(maxima, k), least)
    rows, columns = _cells_that_reach(bounds, block, maxima)
    found, places = best_of(rows, columns, block[rows, columns], k)
    return rows[found], places, columns[found]


def best_of(rows: Ints, columns: Ints, scores: Floats | Ints, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which cells are the k best of their row, best first and ties to the lower column, and their places from 0."""
    order = np.lexsort((columns, -scores, rows))
    ordered = rows[order]
    places = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    is_listed = places < k
    return order[is_listed], places[is_listed]


def _group_maxima(block: Floats, k: int) -> Floats:
    """The largest score of each row in disjoint groups of columns: group g is g, g + groups, g + 2 groups, ...

    More groups make the bound sharper and leave fewer cells to look through, and take longer to partition. Some
    sqrt(k x columns / 3) of them were fastest or near it, for 20 to 300 places and 2,000 to a million columns.
    """
    num_columns = block.shape[1]
    num_groups = min(max(isqrt(k * num_columns // 3), FEWEST_GROUPS * k), num_columns)
    whole, rest = _in_groups(block, num_groups)
    maxima: Floats = whole.max(axis=1)
    np.maximum(maxima[:, : rest.shape[1]], rest, out=maxima[:, : rest.shape[1]])
    return maxima


def _in_groups(block: Floats, num_groups: int) -> tuple[Floats, Floats]:
    """The block as rows x columns of a group x groups, and the last columns, one each for the first groups."""
    num_whole = block.shape[1] - block.shape[1] % num_groups
    return block[:, :num_whole].reshape(len(block), -1, num_groups), block[:, num_whole:]


def _kth_largest(maxima: Floats, k: int) -> Floats:
    """Per row a score that the k best reach, and few others: the k-th largest of the maxima.

    A partition of the row itself is exact and takes four times as long as the matrix product.
    """
    from_below = maxima.shape[1] - k
    kth: Floats = np.partition(maxima, from_below, axis=1)[:, from_below]
    return kth


def _cells_that_reach(bounds: Floats, block: Floats, maxima: Floats) -> tuple[Ints, Ints]:
    """Row and column of each cell that is not below its row's bound, looked for in the groups that hold one alone."""
    num_groups = maxima.shape[1]
    whole, rest = _in_groups(block, num_groups)
    rows, groups = np.divmod(np.flatnonzero(maxima >= bounds[:, None]), num_groups)
    # Not np.nonzero of two dimensions: it takes several times as long.
    pairs, turns = np.divmod(np.flatnonzero(whole[rows, :, groups] >= bounds[rows, None]), whole.shape[1])
    rest_rows, rest_columns = np.nonzero(rest >= bounds[:, None])
    columns = np.concatenate([turns * num_groups + groups[pairs], whole.shape[1] * num_groups + rest_columns])
    return np.concatenate([rows[pairs], rest_rows]), columns
