"""Pairs of items in the baskets of customers, counted in Arrow batches."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.session import spread_over_cores
from clm_spark.tables.catalog import RELATIONS

Ints = NDArray[np.int64]

PAIR = ("relation", "item_index", "neighbour_index")
COUNTED = "relation string, item_index int, neighbour_index int, num_days bigint, num_customers bigint"
PAIRS_AT_ONCE = 4_000_000  # some 200 MB of arrays
SHIFT = 32  # of the first index in a pair's code


def counted_pairs(baskets: DataFrame) -> DataFrame:
    """One row per relation and two items, the lower index first: `num_days` with both, and `num_customers` of these.

    Needs one row per customer and relation: `baskets`, of each day the sorted item indices. Each batch counts its pairs
    first, so that those of one customer are never shuffled one by one.
    """
    partial = spread_over_cores(baskets.select("relation", "baskets")).mapInArrow(_count_batches, COUNTED)
    return partial.groupBy(*PAIR).agg(*(F.sum(name).alias(name) for name in ("num_days", "num_customers")))


def _count_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for relation in RELATIONS:
            baskets = batch.filter(pc.equal(batch["relation"], relation))["baskets"]
            for part in _parts(baskets):
                yield _counted(relation, part)


def _parts(baskets: pa.ListArray) -> Iterator[pa.ListArray]:
    """Some customers at once, so that their pairs fit into memory; a single one has what the days' limit allows."""
    sizes = _numbers(baskets.flatten().value_lengths())
    so_far = np.append(0, np.cumsum(sizes * (sizes - 1) // 2))
    num_pairs = so_far[np.cumsum(_numbers(baskets.value_lengths()))]
    begins = np.flatnonzero(np.diff(num_pairs // PAIRS_AT_ONCE, prepend=-1))
    for begin, end in pairwise([*begins.tolist(), len(baskets)]):
        yield baskets.slice(begin, end - begin)


def _counted(relation: str, baskets: pa.ListArray) -> pa.RecordBatch:
    codes, customers = _pairs(baskets)
    order = np.lexsort((customers, codes))
    codes, customers = codes[order], customers[order]
    is_first = np.diff(codes, prepend=-1) != 0
    is_new_customer = is_first | (np.diff(customers, prepend=-1) != 0)
    begins = np.flatnonzero(is_first)
    num_customers = np.add.reduceat(is_new_customer.astype(np.int64), begins) if len(begins) else begins
    return pa.RecordBatch.from_pydict(
        {
            "relation": pa.array([relation] * len(begins), pa.string()),
            "item_index": pa.array(codes[begins] >> SHIFT, pa.int32()),
            "neighbour_index": pa.array(codes[begins] & (2**SHIFT - 1), pa.int32()),
            "num_days": pa.array(np.diff(begins, append=len(codes)), pa.int64()),
            "num_customers": pa.array(num_customers, pa.int64()),
        }
    )


def _pairs(baskets: pa.ListArray) -> tuple[Ints, Ints]:
    """Every pair of every basket as one number, and whose basket it was."""
    days = baskets.flatten()
    sizes, items = _numbers(days.value_lengths()), _numbers(days.flatten())
    day = np.repeat(np.arange(len(sizes)), sizes)
    # Each item is paired with those after it in its basket.
    num_after = np.cumsum(sizes)[day] - np.arange(len(items)) - 1
    first = np.repeat(np.arange(len(items)), num_after)
    place = np.arange(len(first)) - np.repeat(np.cumsum(num_after) - num_after, num_after)
    second = first + 1 + place
    customer = np.repeat(np.arange(len(baskets)), _numbers(baskets.value_lengths()))[day[first]]
    return (items[first] << SHIFT) | items[second], customer


def _numbers(values: pa.Array) -> Ints:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.int64)
