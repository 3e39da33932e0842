"""What a source gives a block's customers for items, customers x items: their best, and what it gives for any.

Three ways to hold the same. At a million items a cell for each is 4 MB a customer, of which most sources leave nearly all 0.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_matrix

from clm_spark.models import top_k
from clm_spark.models.ranker.lines import Ints, Singles
from clm_spark.models.top_k import best_of

# Scores of a block by one source that gives all items something, 10 MB: so small an array takes the place of the one before,
# where a larger one would be memory that the system has to clear first.
BLOCK_CELLS = 2_500_000
# Share of the cells that are not 0 from which it is faster to hold all of them, of a block of that size and of a larger one.
FULL, FULL_OF_LARGE = 0.02, 0.125


class Scores(Protocol):
    """Customers x items."""

    def best(self, count: int) -> Ints:
        """Of each row the `count` largest that are above 0, as row x items + item; ties to the lower item."""

    def at(self, customers: Ints, items: Ints) -> Singles:
        """The scores of pairs that stand in the order of their customers."""

    def without(self, keys: Ints) -> "Scores":
        """The same with 0 for pairs, given as row x items + item."""


@dataclass(frozen=True)
class DenseScores:
    """An array with a cell for every customer and item."""

    cells: Singles

    def best(self, count: int) -> Ints:
        """As `Scores` has it."""
        num_items = self.cells.shape[1]
        rows, _, columns = top_k.best_cells(self.cells, min(count, num_items), above=0)
        keys: Ints = rows * num_items + columns
        return keys

    def at(self, customers: Ints, items: Ints) -> Singles:
        """As `Scores` has it."""
        return self.cells[customers, items]

    def without(self, keys: Ints) -> "DenseScores":
        """As `Scores` has it."""
        cells = self.cells.copy()
        cells.ravel()[keys] = 0
        return DenseScores(cells)


@dataclass(frozen=True)
class SparseScores:
    """A sparse matrix by rows (CSR) of 4-byte numbers, in which no item is twice in a row."""

    rows: Any

    def best(self, count: int) -> Ints:
        """As `Scores` has it."""
        values, starts, chosen = self.rows.data, self.rows.indptr, []
        for start, stop in pairwise(starts):  # up to the customers of a block
            own, bound = values[start:stop], np.float32(0)
            if len(own) > count:
                bound = np.partition(own, len(own) - count)[len(own) - count]
            chosen.append(start + np.flatnonzero((own >= bound) & (own > 0)))  # all that tie for the last place
        cells = np.concatenate([np.zeros(0, np.int64), *chosen])
        rows, items = np.searchsorted(starts, cells, side="right") - 1, self.rows.indices[cells]
        found, _ = best_of(rows, items, values[cells], count)
        keys: Ints = rows[found].astype(np.int64) * self.rows.shape[1] + items[found]
        return keys

    def at(self, customers: Ints, items: Ints) -> Singles:
        """As `Scores` has it."""
        all_items = np.zeros(self.rows.shape[1], np.float32)
        found = np.empty(len(items), np.float32)
        bounds = np.searchsorted(customers, np.arange(self.rows.shape[0] + 1))
        for row, (start, stop) in enumerate(pairwise(self.rows.indptr)):
            own = self.rows.indices[start:stop]
            all_items[own] = self.rows.data[start:stop]
            asked = slice(bounds[row], bounds[row + 1])
            found[asked] = all_items[items[asked]]
            all_items[own] = 0
        return found

    def without(self, keys: Ints) -> "SparseScores":
        """As `Scores` has it."""
        rows = np.repeat(np.arange(self.rows.shape[0]), np.diff(self.rows.indptr))
        is_hidden = np.isin(rows * self.rows.shape[1] + self.rows.indices, keys)
        return SparseScores(
            csr_matrix((np.where(is_hidden, 0, self.rows.data), self.rows.indices, self.rows.indptr), self.rows.shape)
        )


@dataclass(frozen=True)
class CategoryScores:
    """The product of the customer's share of the item's category, and the item's share in it."""

    shares: Singles  # customers x categories
    categories: Ints  # of each item
    in_category: Singles  # of each item
    sellers: Ints  # items by category, the one with the largest share in it first, ties to the lower item
    starts: Ints  # where each category begins among the sellers, and where the last one ends

    def best(self, count: int) -> Ints:
        """As `Scores` has it."""
        rows, of_rows = np.nonzero(self.shares > 0)
        lengths = np.minimum(count, self.starts[of_rows + 1] - self.starts[of_rows])
        first = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(self.starts[of_rows] - first, lengths)
        rows, items = np.repeat(rows, lengths), self.sellers[places]
        scores = self.at(rows, items)
        cells = np.flatnonzero(scores > 0)
        found, _ = best_of(rows[cells], items[cells], scores[cells], count)
        keys: Ints = rows[cells[found]] * len(self.categories) + items[cells[found]]
        return keys

    def at(self, customers: Ints, items: Ints) -> Singles:
        """As `Scores` has it."""
        return self.shares[customers, self.categories[items]] * self.in_category[items]

    def without(self, keys: Ints) -> DenseScores:
        """As `Scores` has it."""
        return DenseScores(np.take(self.shares, self.categories, axis=1) * self.in_category).without(keys)


def is_mostly_nothing(num_filled: int, *, num_cells: int) -> bool:
    """Whether so few cells are better held without the others."""
    return num_filled < (FULL if num_cells <= BLOCK_CELLS else FULL_OF_LARGE) * num_cells


def scores_of(rows: Any) -> Scores:
    """Those of a sparse matrix: as it is, or as an array where that is faster."""
    rows = rows.tocsr()
    if is_mostly_nothing(rows.nnz, num_cells=rows.shape[0] * rows.shape[1]):
        return SparseScores(rows.astype(np.float32))
    return DenseScores(np.asarray(rows.toarray(), np.float32))
