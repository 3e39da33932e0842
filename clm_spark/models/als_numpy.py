"""Implicit-feedback ALS (Hu, Koren and Volinsky 2008) in NumPy on the workers.

Each side is solved by a few steps of conjugate gradients from its factors of before (Takács, Pilászy and Tikk 2011). Where the
pairs are few, one task does all of it. Where they are many, customers lie in blocks: a block solves its customers with the
items' factors at hand, and the items' products with their systems are sums over customers. So customers' factors never
leave their block: what travels is a matrix of items x rank, bounded by `recommend.max_items`, however many customers there are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.sparse import csc_matrix, csr_matrix

from clm_spark.errors import TooLittleDataError
from clm_spark.models.als_blocks import (
    COLUMNS,
    CUSTOMERS_A_BLOCK,
    Batches,
    Block,
    Matrix,
    block_from_pairs,
    blocks_from_pairs,
    blocks_of,
    sum_over_blocks,
)
from clm_spark.models.top_k import Floats, Ints

STEPS = 3  # of conjugate gradients: more raise NDCG little, and cost as much each
ROWS_AT_ONCE = 1 << 16  # of a matrix that is changed in place
PAIRS_AT_ONCE = 4096  # their factors fit into a core's cache
MOST_PAIRS_OF_ONE_TASK = 5_000_000  # a pass over them at rank 128 takes a third of a second, and a Spark job as long
MOST_BYTES_OF_ONE_TASK = 1_000_000_000
FACTORS = "id int, features array<float>"
FACTORS_OF_BOTH = f"is_item boolean, {FACTORS}"


@dataclass(frozen=True)
class Weights:
    """How a pair of strength r counts: with confidence 1 + w, where w is `alpha` r, and a penalty of λ, `regularization`."""

    alpha: float
    regularization: float


def fit_factors(
    pairs: DataFrame, *, rank: int, iterations: int, weights: Weights, blocks: int, seed: int
) -> tuple[DataFrame, DataFrame]:
    """Factors of customers and of items: rows of `id` and `features`.

    Needs `customer_index`, `item_index` and `strength`; pairs of no strength say nothing. Raises `TooLittleDataError` where
    there are no others.
    """
    liked = pairs.where(F.col("strength") > 0).select("customer_index", "item_index", "strength")
    sizes = liked.agg(F.count("*"), F.max("customer_index"), F.max("item_index")).head()
    assert sizes is not None
    if not sizes[0]:
        raise TooLittleDataError(
            "no customer took to an item with a strength above 0: expected purchases, or other acts that "
            "features.kind_strengths counts"
        )
    num_pairs, num_customers, num_items = sizes[0], sizes[1] + 1, sizes[2] + 1
    # Both orders of the pairs, and some matrices of each side: as measured, rounded up.
    num_bytes = 110 * num_pairs + 30 * rank * (num_customers + num_items)
    if num_pairs <= MOST_PAIRS_OF_ONE_TASK and num_bytes <= MOST_BYTES_OF_ONE_TASK:

        def fit(rows: pa.Table) -> pa.Table:
            return fitted_in_one_task(rows, rank=rank, iterations=iterations, weights=weights, seed=seed)

        both = liked.groupBy(F.lit(0).alias("block")).applyInArrow(fit, FACTORS_OF_BOTH).localCheckpoint()
        customers, items = (both.where(F.col("is_item") == F.lit(is_item)) for is_item in (False, True))
        return customers.drop("is_item"), items.drop("is_item")
    num_blocks = max(blocks, num_customers // CUSTOMERS_A_BLOCK)
    return _fitted_in_blocks(liked, num_blocks, rank=rank, iterations=iterations, weights=weights, seed=seed)


def fitted_in_one_task(pairs: pa.Table, *, rank: int, iterations: int, weights: Weights, seed: int) -> pa.Table:
    """Factors of both sides: rows of `is_item`, `id` and `features`."""
    items = np.unique(pairs["item_index"].to_numpy())
    of_customers = block_from_pairs(pairs, items, number=0, rank=rank)
    of_items = _by_item(of_customers, _random(len(items), rank, seed))
    for _ in range(iterations):
        of_customers = of_customers._replace(vectors=improved(of_customers, of_items.vectors, weights))
        of_items = of_items._replace(vectors=improved(of_items, of_customers.vectors, weights))
    vectors = improved(of_customers, of_items.vectors, weights)
    sides = [_rows(of_customers.customers, vectors), _rows(items, of_items.vectors)]
    tables = [pa.Table.from_batches([side]) for side in sides]
    marked = [
        table.add_column(0, "is_item", pa.array(np.full(len(table), is_item)))
        for table, is_item in zip(tables, (False, True), strict=True)
    ]
    return pa.concat_tables(marked)


def _by_item(block: Block, vectors: Matrix) -> Block:
    """The same pairs by item: a row per item, with these factors, and customers in the place of items."""
    rows = np.repeat(np.arange(len(block.customers), dtype=np.int32), np.diff(block.starts))
    order = np.argsort(block.columns, kind="stable")
    starts = np.searchsorted(block.columns[order], np.arange(len(vectors) + 1)).astype(np.int64)
    numbers = np.arange(len(vectors), dtype=np.int32)
    return Block(block.number, numbers, starts, rows[order], block.strengths[order], vectors)


def _fitted_in_blocks(
    liked: DataFrame, num_blocks: int, *, rank: int, iterations: int, weights: Weights, seed: int
) -> tuple[DataFrame, DataFrame]:
    counted = liked.groupBy("item_index").agg(F.count("*").alias("n")).toArrow().sort_by("item_index")
    items, counts = counted["item_index"].to_numpy(), counted["n"].to_numpy()
    vectors = _random(len(items), rank, seed)
    solved_blocks = blocks_from_pairs(liked, items, num_blocks=num_blocks, rank=rank).persist()
    try:
        for _ in range(iterations):
            before, solved_blocks = solved_blocks, _with_vectors(solved_blocks, vectors, weights).persist()
            try:
                vectors = _solved_items(solved_blocks, vectors, counts, weights)
            finally:
                before.unpersist()
        # Before the blocks are dropped: whoever reads the factors twice does not solve for them twice.
        last = _with_vectors(solved_blocks, vectors, weights)
        customers = last.mapInArrow(_factors_of(rank), FACTORS).localCheckpoint()
    finally:
        solved_blocks.unpersist()
    return customers, _frame(liked.sparkSession, items, vectors)


def _with_vectors(blocks: DataFrame, item_vectors: Matrix, weights: Weights) -> DataFrame:
    """The blocks with their customers' factors."""
    sent = blocks.sparkSession.sparkContext.broadcast(item_vectors)

    def solve(batches: Batches) -> Iterator[pa.RecordBatch]:
        for block in blocks_of(batches, sent.value.shape[1]):
            yield block._replace(vectors=improved(block, sent.value, weights)).row()

    return blocks.mapInArrow(solve, COLUMNS)


def improved(block: Block, others: Matrix, weights: Weights) -> Matrix:
    """The factors of a block's rows after `STEPS` of conjugate gradients from those of before, or from 0.

    A row is x of (YᵀY + Σ w yyᵀ + λn I) x = Σ (1 + w) y over the n factors y of its own pairs.
    """
    begun = (
        block.vectors.copy() if len(block.vectors) else np.zeros((len(block.customers), others.shape[1]), np.float32)
    )
    confidence = np.float32(weights.alpha) * block.strengths
    gram, penalty = others.T @ others, np.float32(weights.regularization) * np.diff(block.starts)[:, None]

    def summed(values: Floats) -> Matrix:
        shape = (len(block.customers), len(others))
        sums: Matrix = csr_matrix((values, block.columns, block.starts), shape=shape) @ others
        return sums

    def rest(of: Matrix) -> Matrix:
        product: Matrix = of @ gram + penalty.astype(np.float32) * of
        return product

    return conjugate_gradients(
        lambda of: summed(confidence * dots(block, of, others)) + rest(of),
        begun,
        summed(1 + confidence - confidence * dots(block, begun, others)) - rest(begun),
    )


def _solved_items(solved: DataFrame, vectors: Matrix, counts: Ints, weights: Weights) -> Matrix:
    """The items' factors after `STEPS` of conjugate gradients from those of before."""
    num_items, rank = vectors.shape

    def total(add: Callable[[Matrix, Block, Matrix, Weights], None], of: Matrix, num_rows: int) -> Matrix:
        sent = solved.sparkSession.sparkContext.broadcast(of)
        try:
            return sum_over_blocks(
                solved, lambda sums, block: add(sums, block, sent.value, weights), shape=(num_rows, rank)
            )
        finally:
            sent.destroy()

    both = total(add_residual_and_gram, vectors, num_items + rank)
    residual, gram = both[:num_items], both[num_items:]
    penalty = np.float32(weights.regularization) * counts[:, None].astype(np.float32)

    def product(of: Matrix) -> Matrix:
        made = total(add_weighted_products, of, num_items)
        for start in range(0, num_items, ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            made[some] += of[some] @ gram
            made[some] += penalty[some] * of[some]
        return made

    residual -= vectors @ gram
    _add_multiples(residual, -penalty, vectors)
    return conjugate_gradients(product, vectors, residual)


def conjugate_gradients(product: Callable[[Matrix], Matrix], vectors: Matrix, residual: Matrix) -> Matrix:
    """Rows that solve a system of their own each, all at once: `product` multiplies every row by its system.

    Writes into both, and gives `vectors`. Beside them it holds two matrices of the same shape.
    """
    direction, size = residual.copy(), _squared(residual)
    for step in range(STEPS):
        made = product(direction)
        length = _ratio(size, np.einsum("ij,ij->i", direction, made)[:, None])
        _add_multiples(vectors, length, direction)
        if step + 1 < STEPS:
            _add_multiples(residual, -length, made)
            del made
            size, before = _squared(residual), size
            direction *= _ratio(size, before)
            direction += residual
    return vectors


def _add_multiples(rows: Matrix, factors: Floats, others: Matrix) -> None:
    """Add to each row a multiple of the other's, some at a time: the product of all would be one more matrix."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        rows[some] += factors[some] * others[some]


def add_residual_and_gram(total: Matrix, block: Block, item_vectors: Matrix, weights: Weights) -> None:
    """Add what a block's customers x have for Σ (1 + w) x - Σ w x (xᵀy) of each item y; below it, for XᵀX."""
    confidence = np.float32(weights.alpha) * block.strengths
    num_items = len(item_vectors)
    _add_spread(total[:num_items], block, 1 + confidence - confidence * dots(block, block.vectors, item_vectors))
    total[num_items:] += block.vectors.T @ block.vectors


def add_weighted_products(total: Matrix, block: Block, directions: Matrix, weights: Weights) -> None:
    """Add what a block's customers x have for Σ w x (xᵀp), for the direction p of each item."""
    confidence = np.float32(weights.alpha) * block.strengths
    _add_spread(total, block, confidence * dots(block, block.vectors, directions))


def dots(block: Block, vectors: Matrix, others: Matrix) -> Floats:
    """The dot product of both sides' factors for each pair; `vectors` has a row for each of the block's."""
    try:
        import torch  # here: on the workers, where it takes a second
    except ImportError:  # the extra `spark` has none
        return _dots_by_numpy(block, vectors, others)
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]  # as on ARM
        return _dots_by_numpy(block, vectors, others)
    pairs = torch.sparse_csr_tensor(
        torch.tensor(block.starts),
        torch.tensor(block.columns, dtype=torch.int64),
        torch.zeros(len(block.columns)),
        size=(len(vectors), len(others)),
    )
    found = torch.sparse.sampled_addmm(pairs, _as_tensor(vectors), _as_tensor(others).T, beta=0.0)
    values: Floats = found.values().numpy()
    return values


def _as_tensor(matrix: Matrix) -> Any:
    """Without a copy, but of what lies in a row of Arrow's: torch wants to be able to write."""
    import torch

    return torch.from_numpy(matrix) if matrix.flags.writeable else torch.tensor(matrix)


def _dots_by_numpy(block: Block, vectors: Matrix, others: Matrix) -> Floats:
    rows = np.repeat(np.arange(len(vectors)), np.diff(block.starts))
    found = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        pairs = slice(start, start + PAIRS_AT_ONCE)
        found[pairs] = np.einsum("ij,ij->i", vectors[rows[pairs]], others[block.columns[pairs]])
    return found


def _add_spread(total: Matrix, block: Block, values: Floats) -> None:
    """Add to each item's row its customers' factors times the pairs' values, some items at a time where they are many."""
    by_customer = csc_matrix((values, block.columns, block.starts), shape=(len(total), len(block.customers)))
    if len(total) <= 2 * ROWS_AT_ONCE:  # quicker there, and one more matrix is small
        total += by_customer @ block.vectors
        return
    by_item = by_customer.tocsr()
    for start in range(0, len(total), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        total[some] += by_item[some] @ block.vectors


def _squared(rows: Matrix) -> Matrix:
    sizes: Matrix = np.einsum("ij,ij->i", rows, rows)[:, None]
    return sizes


def _ratio(above: Matrix, below: Matrix) -> Matrix:
    """0 for rows that are solved already."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _random(num: int, rank: int, seed: int) -> Matrix:
    return np.random.default_rng(seed).normal(scale=rank**-0.5, size=(num, rank)).astype(np.float32)


def _factors_of(rank: int) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def factors(batches: Batches) -> Iterator[pa.RecordBatch]:
        for block in blocks_of(batches, rank):
            yield _rows(block.customers, block.vectors)

    return factors


def _frame(spark: SparkSession, indices: Ints, vectors: Matrix) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_batches([_rows(indices, vectors)]))


def _rows(indices: Ints, vectors: Matrix) -> pa.RecordBatch:
    starts = pa.array(np.arange(len(indices) + 1) * vectors.shape[1], pa.int32())
    features = pa.ListArray.from_arrays(starts, pa.array(vectors.ravel()))
    return pa.RecordBatch.from_arrays([pa.array(indices, pa.int32()), features], names=["id", "features"])
