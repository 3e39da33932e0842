"""ALS as a source of candidates: factors of the items from the customers of reference, and a customer's own folded in."""

from typing import Any

import numpy as np
from scipy.linalg.lapack import sposv

from clm_spark.models.als_blocks import Block as Pairs
from clm_spark.models.als_blocks import Matrix
from clm_spark.models.als_numpy import Weights
from clm_spark.models.ranker.lines import Singles
from clm_spark.models.ranker.settings import CandidateSettings


def item_vectors(customers: Any, settings: CandidateSettings) -> Singles:
    """Items x `als_rank`, from sparse rows of customers x items: both sides solved in turn (Hu, Koren and Volinsky 2008).

    The strengths are those of the rows, which fade with every basket.
    """
    random = np.random.default_rng(settings.seed)
    vectors = random.normal(scale=settings.als_rank**-0.5, size=(customers.shape[1], settings.als_rank))
    items: Singles = vectors.astype(np.float32)
    by_item = customers.T.tocsr()
    for _ in range(settings.als_iterations):
        items = folded_in(by_item, folded_in(customers, items, settings), settings)
    return items


def folded_in(rows: Any, others: Singles, settings: CandidateSettings) -> Singles:
    """The factors of each sparse row, given those of the other side; 0 for a row without strengths."""
    known = np.flatnonzero(np.diff(rows.indptr))
    theirs = rows[known]
    pairs = Pairs(
        0,
        known,
        theirs.indptr.astype(np.int64),
        theirs.indices,
        theirs.data.astype(np.float32),
        np.empty((0, settings.als_rank), np.float32),
    )
    vectors = np.zeros((rows.shape[0], settings.als_rank), np.float32)
    vectors[known] = _solved(pairs, others, Weights(settings.als_alpha, settings.als_regularization))
    return vectors


def _solved(block: Pairs, others: Matrix, weights: Weights) -> Matrix:
    """The factors of each of the block's rows, solved exactly."""
    rank = others.shape[1]
    vectors = np.empty((len(block.customers), rank), np.float32)
    gram = others.T @ others
    for row, (start, stop) in enumerate(zip(block.starts[:-1], block.starts[1:], strict=True)):
        own = others[block.columns[start:stop]]
        confidence = np.float32(weights.alpha) * block.strengths[start:stop]
        system = gram + (own.T * confidence) @ own
        system.flat[:: rank + 1] += np.float32(weights.regularization * (stop - start))
        _, vectors[row], failed = sposv(system, (1 + confidence) @ own)
        if failed:
            raise np.linalg.LinAlgError(
                "the factors of a row have no single solution: raise candidates.als_regularization"
            )
    return vectors
