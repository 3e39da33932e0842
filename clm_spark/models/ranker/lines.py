"""Histories of a batch of customers as arrays: the unit of work on the workers.

A line is a customer's day with an item. Its age is how many days before the morning it was, 1 or more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
Singles = NDArray[np.float32]


def starts_of_runs(values: Ints) -> Ints:
    """Where each run of equal values begins, in sorted values."""
    if len(values) == 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))


@dataclass(frozen=True)
class Lines:
    """Lines sorted by customer, item and age, the latest first. `customers` are rows of the batch."""

    customers: Ints
    items: Ints
    ages: Ints
    units: Floats
    spent: Floats
    num_customers: int
    num_items: int

    @classmethod
    def of(
        cls, customers: Ints, items: Ints, ages: Ints, units: Floats, spent: Floats, *, shape: tuple[int, int]
    ) -> "Lines":
        """Lines in any order, sorted; `shape` is customers x items."""
        order = np.lexsort((ages, items, customers))
        return cls(customers[order], items[order], ages[order], units[order], spent[order], *shape)

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def pairs(self) -> "Pairs":
        """One per customer and item."""
        keys = self.customers * self.num_items + self.items
        starts = starts_of_runs(keys)
        ends = np.append(starts[1:], len(keys))[: len(starts)] - 1
        return Pairs(keys[starts], starts, ends)

    @cached_property
    def _baskets(self) -> tuple[Ints, Ints]:
        """Customer and age of each day with a purchase, by customer and age, as one number; and each line's basket."""
        longest = int(self.ages.max(initial=0)) + 1
        keys, basket = np.unique(self.customers * longest + self.ages, return_inverse=True)
        return keys // longest, basket

    @cached_property
    def basket_customers(self) -> Ints:
        """The customer of each basket; a customer's latest basket comes first."""
        return self._baskets[0]

    @property
    def baskets(self) -> Ints:
        """The basket of each line."""
        return self._baskets[1]

    @cached_property
    def num_baskets(self) -> Ints:
        """Of each customer."""
        return np.bincount(self.basket_customers, minlength=self.num_customers)

    @cached_property
    def places(self) -> Ints:
        """How many baskets of the customer came after the line's: 0 is the latest."""
        first = np.cumsum(self.num_baskets) - self.num_baskets
        return self.baskets - first[self.customers]

    def matrix(self, values: Floats) -> Any:
        """Customers x items, the values of a pair's lines summed."""
        shape = (self.num_customers, self.num_items)
        return sparse.csr_matrix((values, (self.customers, self.items)), shape=shape)

    def of_items(self, values: Floats | Bools) -> Floats:
        """The values of each item's lines, summed."""
        return np.bincount(self.items, weights=values, minlength=self.num_items).astype(float)

    def of_customers(self, values: Floats | Bools) -> Floats:
        """The values of each customer's lines, summed."""
        return np.bincount(self.customers, weights=values, minlength=self.num_customers).astype(float)

    @cached_property
    def is_repeat(self) -> Bools:
        """Whether the line is an earlier purchase of a pair than its latest."""
        repeats = np.ones(len(self), bool)
        repeats[self.pairs.starts] = False
        return repeats

    @cached_property
    def gaps(self) -> Floats:
        """Days from a pair's line to the next one in time; 0 for its latest."""
        ages = self.ages.astype(float)
        return np.where(self.is_repeat, np.diff(ages, prepend=0.0), 0.0)


@dataclass(frozen=True)
class Pairs:
    """Customer x item by one number each, in order, and the first and last of its lines: the latest and the oldest."""

    keys: Ints
    starts: Ints
    ends: Ints

    @cached_property
    def num_lines(self) -> Floats:
        """Days with the item."""
        return (self.ends - self.starts + 1).astype(float)

    def find(self, asked: Ints) -> tuple[Ints, Bools]:
        """Where each asked key is, and whether it is there at all."""
        if len(self.keys) == 0:
            return np.zeros(len(asked), np.int64), np.zeros(len(asked), bool)
        places = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        return places, self.keys[places] == asked

    def sums(self, values: Floats | Bools) -> Floats:
        """The values of each pair's lines, summed."""
        return np.add.reduceat(np.asarray(values, float), self.starts) if len(self.starts) else np.zeros(0)


@dataclass(frozen=True)
class Histories:
    """What a batch of customers bought, and what they looked at on days without buying it."""

    customer_keys: Ints  # a hash of the id: whether a customer is among those of reference
    bought: Lines
    looked: Lines

    @property
    def num_customers(self) -> int:
        """Rows of the batch."""
        return len(self.customer_keys)


COLUMNS = ("items", "ages", "units", "spent", "looks")


def histories_of(batch: pa.RecordBatch, *, num_items: int, longest: int) -> Histories:
    """The batch's histories, of each customer the `longest` latest lines.

    Its rows have `customer_key` and, per line, `items`, `ages`, `units`, `spent` and `looks`.
    """
    lists = batch.column(COLUMNS[0])
    customers = np.asarray(pa.ListArray.value_parent_indices(lists), np.int64)
    items, ages, units, spent, looks = (batch.column(name).flatten().to_numpy(zero_copy_only=False) for name in COLUMNS)
    items, ages = items.astype(np.int64), ages.astype(np.int64)
    order = np.lexsort((items, ages, customers))
    sorted_customers = customers[order]
    num_lines = np.bincount(sorted_customers, minlength=batch.num_rows)
    place = np.arange(len(order)) - (np.cumsum(num_lines) - num_lines)[sorted_customers]
    kept = order[place < longest]
    shape = (batch.num_rows, num_items)

    def lines(chosen: Ints) -> Lines:
        figures = (units[chosen].astype(float), spent[chosen].astype(float))
        return Lines.of(customers[chosen], items[chosen], ages[chosen], *figures, shape=shape)

    is_bought = units[kept] > 0
    keys = batch.column("customer_key").to_numpy()
    return Histories(keys, lines(kept[is_bought]), lines(kept[~is_bought & (looks[kept] > 0)]))


def lists_of(batch: pa.RecordBatch, name: str) -> tuple[Ints, Ints]:
    """Row and value of every entry of a column of lists of whole numbers."""
    column = batch.column(name)
    return np.asarray(column.value_parent_indices(), np.int64), np.asarray(column.flatten(), np.int64)


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """All rows in one batch."""
    (batch,) = pa.Table.from_batches(batches).combine_chunks().to_batches(max_chunksize=None)
    return batch
