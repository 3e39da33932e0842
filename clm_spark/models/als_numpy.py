"""Implicit-feedback ALS (Hu, Koren and Volinsky 2008) in NumPy on the workers.

Customers are solved exactly, block by block, with the items' factors at hand. Items are solved by a few steps of conjugate
gradients (Takács, Pilászy and Tikk 2011), whose products with the system are sums over customers. So customers' factors never
leave their block: what travels is a matrix of items x rank, bounded by `recommend.max_items`, however many customers there are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.linalg.lapack import sposv
from scipy.sparse import csc_matrix

from clm_spark.models.als_blocks import (
    COLUMNS,
    CUSTOMERS_A_BLOCK,
    Batches,
    Block,
    Matrix,
    blocks_from_pairs,
    blocks_of,
    sum_over_blocks,
)
from clm_spark.models.top_k import Floats, Ints
from clm_spark.session import persisted

STEPS = 3  # of conjugate gradients: more did not raise NDCG
PAIRS_AT_ONCE = 4096  # their factors fit into a core's cache
FACTORS = "id int, features array<float>"


@dataclass(frozen=True)
class Weights:
    """How a pair of strength r counts: with confidence 1 + w, where w is `alpha` r, and a penalty of λ, `regularization`."""

    alpha: float
    regularization: float


def fit_factors(
    pairs: DataFrame, *, rank: int, iterations: int, weights: Weights, blocks: int, seed: int
) -> tuple[DataFrame, DataFrame]:
    """Factors of customers and of items: rows of `id` and `features`.

    Needs `customer_index`, `item_index` and `strength`; pairs of no strength say nothing.
    """
    liked = pairs.where(F.col("strength") > 0).select("customer_index", "item_index", "strength")
    counted = liked.groupBy("item_index").agg(F.count("*").alias("n")).toArrow().sort_by("item_index")
    items, counts = counted["item_index"].to_numpy(), counted["n"].to_numpy()
    vectors = _random(len(items), rank, seed)
    num_blocks = max(blocks, (_largest(liked, "customer_index") + 1) // CUSTOMERS_A_BLOCK)
    with persisted(blocks_from_pairs(liked, items, num_blocks=num_blocks, rank=rank)) as unsolved:
        for _ in range(iterations):
            with persisted(_with_vectors(unsolved, vectors, weights)) as solved:
                vectors = _solved_items(solved, vectors, counts, weights)
        # Before the blocks are dropped: whoever reads the factors twice does not solve for them twice.
        customers = _with_vectors(unsolved, vectors, weights).mapInArrow(_factors_of(rank), FACTORS).localCheckpoint()
    return customers, _frame(pairs.sparkSession, items, vectors)


def _with_vectors(blocks: DataFrame, item_vectors: Matrix, weights: Weights) -> DataFrame:
    """The blocks with their customers' factors."""
    sent = blocks.sparkSession.sparkContext.broadcast(item_vectors)

    def solve(batches: Batches) -> Iterator[pa.RecordBatch]:
        for block in blocks_of(batches, sent.value.shape[1]):
            yield block._replace(vectors=solved_customers(block, sent.value, weights)).row()

    return blocks.mapInArrow(solve, COLUMNS)


def solved_customers(block: Block, item_vectors: Matrix, weights: Weights) -> Matrix:
    """A row of factors per customer: x of (YᵀY + Σ w yyᵀ + λn I) x = Σ (1 + w) y over the n own items y."""
    rank = item_vectors.shape[1]
    vectors = np.empty((len(block.customers), rank), np.float32)
    gram = item_vectors.T @ item_vectors
    for row, (start, stop) in enumerate(zip(block.starts[:-1], block.starts[1:], strict=True)):
        own = item_vectors[block.columns[start:stop]]
        confidence = np.float32(weights.alpha) * block.strengths[start:stop]
        system = gram + (own.T * confidence) @ own
        system.flat[:: rank + 1] += np.float32(weights.regularization * (stop - start))
        _, vectors[row], failed = sposv(system, (1 + confidence) @ own)
        if failed:
            raise np.linalg.LinAlgError(
                "the factors of a customer have no single solution: set als.regularization above 0"
            )
    return vectors


def _solved_items(solved: DataFrame, vectors: Matrix, counts: Ints, weights: Weights) -> Matrix:
    """The items' factors after `STEPS` of conjugate gradients from those of before."""
    num_items, rank = vectors.shape

    def total(terms: Callable[[Block, Matrix], Matrix], of: Matrix, num_rows: int) -> Matrix:
        sent = solved.sparkSession.sparkContext.broadcast(of)
        return sum_over_blocks(solved, _applied(terms, sent), shape=(num_rows, rank))

    both = total(lambda block, of: residual_and_gram(block, of, weights), vectors, num_items + rank)
    residual, gram = both[:num_items], both[num_items:]
    penalty = np.float32(weights.regularization) * counts[:, None].astype(np.float32)
    return conjugate_gradients(
        lambda of: (
            total(lambda block, each: weighted_products(block, each, weights), of, num_items) + of @ gram + penalty * of
        ),
        vectors,
        residual - vectors @ gram - penalty * vectors,
    )


def _applied(terms: Callable[[Block, Matrix], Matrix], sent: Broadcast[Matrix]) -> Callable[[Block], Matrix]:
    return lambda block: terms(block, sent.value)


def conjugate_gradients(product: Callable[[Matrix], Matrix], vectors: Matrix, residual: Matrix) -> Matrix:
    """Rows that solve a system of their own each, all at once: `product` multiplies every row by its system."""
    direction, size = residual, _squared(residual)
    for step in range(STEPS):
        made = product(direction)
        length = _ratio(size, np.einsum("ij,ij->i", direction, made)[:, None])
        vectors = vectors + length * direction
        if step + 1 < STEPS:
            residual = residual - length * made
            size, before = _squared(residual), size
            direction = residual + _ratio(size, before) * direction
    return vectors


def residual_and_gram(block: Block, item_vectors: Matrix, weights: Weights) -> Matrix:
    """What a block's customers x add to Σ (1 + w) x - Σ w x (xᵀy) of each item y; below it, to XᵀX."""
    confidence = np.float32(weights.alpha) * block.strengths
    of_items = _spread(block, 1 + confidence - confidence * _dots(block, item_vectors), len(item_vectors))
    return np.vstack([of_items, block.vectors.T @ block.vectors])


def weighted_products(block: Block, directions: Matrix, weights: Weights) -> Matrix:
    """What a block's customers x add to Σ w x (xᵀp), for the direction p of each item."""
    confidence = np.float32(weights.alpha) * block.strengths
    return _spread(block, confidence * _dots(block, directions), len(directions))


def _dots(block: Block, of_items: Matrix) -> Floats:
    """The dot product of customer and item for each pair."""
    rows = np.repeat(np.arange(len(block.customers)), np.diff(block.starts))
    dots = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        pairs = slice(start, start + PAIRS_AT_ONCE)
        dots[pairs] = np.einsum("ij,ij->i", block.vectors[rows[pairs]], of_items[block.columns[pairs]])
    return dots


def _spread(block: Block, values: Floats, num_items: int) -> Matrix:
    """A row per item: the sum of its customers' factors times the pairs' values."""
    of_pairs = csc_matrix((values, block.columns, block.starts), shape=(num_items, len(block.customers)))
    sums: Matrix = of_pairs @ block.vectors
    return sums


def _squared(rows: Matrix) -> Matrix:
    sizes: Matrix = np.einsum("ij,ij->i", rows, rows)[:, None]
    return sizes


def _ratio(above: Matrix, below: Matrix) -> Matrix:
    """0 for rows that are solved already."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _random(num: int, rank: int, seed: int) -> Matrix:
    return np.random.default_rng(seed).normal(scale=rank**-0.5, size=(num, rank)).astype(np.float32)


def _largest(rows: DataFrame, column: str) -> int:
    (largest,) = rows.agg(F.max(column)).head() or (0,)
    return int(largest)


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
