"""Customers and what they took to, in blocks: a row of binary columns each, which NumPy opens on a worker without copies.

A sum over all blocks is added up within partitions, then by slices of its rows on the workers; one matrix comes to the driver.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.top_k import Floats, Ints

CUSTOMERS_A_BLOCK = 20_000  # a block is read by one task: its pairs and factors are some tens of MB
BLOCK = pa.schema(
    [("block", pa.int32())]
    + [(name, pa.binary()) for name in ("customers", "starts", "columns", "strengths", "vectors")]
)
COLUMNS = "block int, customers binary, starts binary, columns binary, strengths binary, vectors binary"
PARTIAL = "slice int, block int, sums binary"

Batches = Iterable[pa.RecordBatch]
Matrix = NDArray[np.float32]


class Block(NamedTuple):
    """Customers and their pairs: those of customer i are `starts[i]` to `starts[i + 1]`."""

    number: int
    customers: Ints
    starts: Ints
    columns: Ints  # where the pair's item stands in the matrix of items
    strengths: Floats
    vectors: Matrix  # the customers' factors; no rows before they are solved

    def row(self) -> pa.RecordBatch:
        """As a row of the frame."""
        number, *arrays = self
        cells = [pa.array([number], pa.int32()), *(pa.array([each.tobytes()], pa.binary()) for each in arrays)]
        return pa.RecordBatch.from_arrays(cells, schema=BLOCK)


def blocks_from_pairs(pairs: DataFrame, items: Ints, *, num_blocks: int, rank: int) -> DataFrame:
    """One row per block of customers, without factors.

    Needs `customer_index`, dense from 0, `item_index` and `strength`; `items` are all item indices, in order.
    """
    block = F.pmod("customer_index", F.lit(num_blocks)).alias("block")
    asked = pairs.select(block, "customer_index", "item_index", F.col("strength").cast("float").alias("strength"))

    def block_of(rows: pa.Table) -> pa.Table:
        ordered = rows.sort_by([("customer_index", "ascending"), ("item_index", "ascending")])
        customers, starts = np.unique(ordered["customer_index"].to_numpy(), return_index=True)
        made = Block(
            ordered["block"][0].as_py(),
            customers,
            np.append(starts, len(ordered)).astype(np.int64),
            np.searchsorted(items, ordered["item_index"].to_numpy()).astype(np.int32),
            ordered["strength"].to_numpy(),
            np.empty((0, rank), np.float32),
        )
        return pa.Table.from_batches([made.row()])

    grouped = asked.groupBy("block").applyInArrow(block_of, COLUMNS)
    # By number, not by hash: few blocks must not meet in one task. In order, so that sums are the same in every run.
    tasks = min(num_blocks, pairs.sparkSession.sparkContext.defaultParallelism)
    return grouped.repartitionByRange(tasks, "block").sortWithinPartitions("block")


def blocks_of(batches: Batches, rank: int) -> Iterator[Block]:
    """Open the rows of an Arrow stream."""
    for batch in batches:
        for number, *cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            customers, starts, columns, strengths, vectors = cells
            yield Block(
                number,
                np.frombuffer(customers, np.int32),
                np.frombuffer(starts, np.int64),
                np.frombuffer(columns, np.int32),
                np.frombuffer(strengths, np.float32),
                np.frombuffer(vectors, np.float32).reshape(-1, rank),
            )


def sum_over_blocks(blocks: DataFrame, terms: Callable[[Block], Matrix], *, rank: int, num_slices: int) -> Matrix:
    """The sum of a matrix that `terms` makes of each block, with `rank` columns; it must fit into the driver."""

    def add_up(batches: Batches) -> Iterator[pa.RecordBatch]:
        total, first = None, 0
        for block in blocks_of(batches, rank):
            if total is None:
                total, first = terms(block), block.number
            else:
                total += terms(block)
        if total is not None:
            sums = [part.tobytes() for part in np.array_split(total, num_slices)]
            yield _partials(np.arange(num_slices), np.full(num_slices, first), sums)

    def add_slices(partials: pa.Table) -> pa.Table:
        ordered = partials.sort_by("block")
        parts = [np.frombuffer(part, np.float32) for part in ordered["sums"].to_pylist()]
        added = [np.sum(parts, axis=0).tobytes()]
        number, first = (ordered[name][:1].to_numpy() for name in ("slice", "block"))
        return pa.Table.from_batches([_partials(number, first, added)])

    partials = blocks.mapInArrow(add_up, PARTIAL)
    slices = partials.groupBy("slice").applyInArrow(add_slices, PARTIAL).toArrow().sort_by("slice")
    return np.frombuffer(b"".join(slices["sums"].to_pylist()), np.float32).reshape(-1, rank)


def _partials(slices: Ints, first_blocks: Ints, sums: list[bytes]) -> pa.RecordBatch:
    columns = [pa.array(slices, pa.int32()), pa.array(first_blocks, pa.int32()), pa.array(sums, pa.binary())]
    return pa.RecordBatch.from_arrays(columns, names=["slice", "block", "sums"])
