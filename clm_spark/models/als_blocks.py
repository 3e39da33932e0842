"""Customers and what they took to, in blocks: a row of binary columns each, which NumPy opens on a worker without copies.

A sum over all blocks is a matrix: added up within partitions, then, where it is large, by slices of its rows on the workers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.top_k import Floats, Ints
from clm_spark.session import persisted

CUSTOMERS_A_BLOCK = 20_000  # a block is read by one task: its pairs and factors are some tens of MB
BLOCK = pa.schema(
    [("block", pa.int32())]
    + [(name, pa.binary()) for name in ("customers", "starts", "columns", "strengths", "vectors")]
)
# Beyond it partial sums meet on the workers, slice by slice; below it a shuffle costs more than it saves.
MOST_BYTES_AT_DRIVER = 64_000_000
MOST_BYTES_A_SLICE = 4_000_000  # Spark's JVM copies a cell several times on its way
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
    vectors: Matrix  # the customers' factors; no rows before they are solved for

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
        made = block_from_pairs(rows, items, number=rows["block"][0].as_py(), rank=rank)
        return pa.Table.from_batches([made.row()])

    grouped = asked.groupBy("block").applyInArrow(block_of, COLUMNS)
    # By number, not by hash: few blocks must not meet in one task. In order, so that sums are the same in every run.
    tasks = min(num_blocks, pairs.sparkSession.sparkContext.defaultParallelism)
    return grouped.repartitionByRange(tasks, "block").sortWithinPartitions("block")


def block_from_pairs(rows: pa.Table, items: Ints, *, number: int, rank: int) -> Block:
    """The pairs by customer and item, without factors."""
    ordered = rows.sort_by([("customer_index", "ascending"), ("item_index", "ascending")])
    customers, starts = np.unique(ordered["customer_index"].to_numpy(), return_index=True)
    return Block(
        number,
        customers,
        np.append(starts, len(ordered)).astype(np.int64),
        np.searchsorted(items, ordered["item_index"].to_numpy()).astype(np.int32),
        ordered["strength"].to_numpy().astype(np.float32),
        np.empty((0, rank), np.float32),
    )


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


def sum_over_blocks(blocks: DataFrame, add: Callable[[Matrix, Block], None], *, shape: tuple[int, int]) -> Matrix:
    """A matrix of that shape, to which `add` adds what each block has for it; it must fit into the driver."""
    most_tasks, rank = blocks.sparkSession.sparkContext.defaultParallelism, shape[1]
    num_bytes = shape[0] * rank * 4
    num_slices = max(most_tasks, -(-num_bytes // MOST_BYTES_A_SLICE))

    def add_up(batches: Batches) -> Iterator[pa.RecordBatch]:
        total, first = np.zeros(shape, np.float32), None
        for block in blocks_of(batches, rank):
            add(total, block)
            first = block.number if first is None else first
        if first is not None:
            for number, part in enumerate(np.array_split(total, num_slices)):
                yield _partials(np.array([number]), first, [part])

    partials = blocks.mapInArrow(add_up, PARTIAL)
    summed = np.empty(shape, np.float32)
    slices = np.array_split(summed, num_slices)

    def keep(found: Iterable[Mapping[str, Any]]) -> Matrix:
        for row in found:
            slices[row["slice"]][:] = np.frombuffer(row["sums"], np.float32).reshape(-1, rank)
        return summed

    if most_tasks * num_bytes <= MOST_BYTES_AT_DRIVER:
        return keep(_added(partials.toArrow()).to_pylist())
    with persisted(partials.groupBy("slice").applyInArrow(_added, PARTIAL)) as sums:
        sums.count()  # computes all partitions in parallel; the iterator below would compute one after the other
        return keep(row.asDict() for row in sums.toLocalIterator())


def _added(partials: pa.Table) -> pa.Table:
    """A row per slice, in order: its partial sums added up in the order of their blocks."""
    ordered = partials.sort_by([("slice", "ascending"), ("block", "ascending")])
    numbers, starts = np.unique(ordered["slice"].to_numpy(), return_index=True)
    parts = [np.frombuffer(part, np.float32) for part in ordered["sums"].to_pylist()]
    groups = zip(starts, [*starts[1:], len(parts)], strict=True)
    return pa.Table.from_batches([_partials(numbers, 0, [np.sum(parts[start:stop], axis=0) for start, stop in groups])])


def _partials(slices: Ints, first_block: int, sums: Iterable[Matrix]) -> pa.RecordBatch:
    cells = pa.array([each.tobytes() for each in sums], pa.binary())
    columns = [pa.array(slices, pa.int32()), pa.array(np.full(len(slices), first_block), pa.int32()), cells]
    return pa.RecordBatch.from_arrays(columns, names=["slice", "block", "sums"])
