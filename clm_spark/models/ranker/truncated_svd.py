"""The largest singular values of a sparse matrix, with their vectors."""

import logging
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackError, svds

from clm_spark.models.ranker.lines import Floats

log = logging.getLogger(__name__)

DENSE = 1_000  # rows or columns up to which the eigenvectors of all of them are found: a second or less
APART = 1e-5  # of the largest: singular values nearer to each other than this count as equal


def truncated_svd(rows: Any, dimensions: int, *, seed: int) -> tuple[Floats, Floats, Floats]:
    """Left vectors, singular values and right vectors of a sparse matrix: `dimensions` of each at most, in no promised order.

    Fewer where the next singular value is the same as the last: their vectors may be turned among each other, and which of
    them came first would be chance. So it is where many customers bought one thing that nobody else did. Also fewer than
    the matrix's rank, where that is lower.
    """
    matrix = rows.astype(float)
    if min(matrix.shape) <= DENSE:
        left, sizes, right = _dense(matrix, dimensions + 1)
    else:
        left, sizes, right = _sparse(matrix, min(dimensions + 1, min(matrix.shape) - 1), seed)
    next_one = sizes.min() if len(sizes) > dimensions else 0.0
    stands_apart = sizes > next_one + APART * sizes.max(initial=0.0)
    return left[:, stands_apart], sizes[stands_apart], right[stands_apart]


def _dense(matrix: Any, dimensions: int) -> tuple[Floats, Floats, Floats]:
    """By the eigenvectors of the smaller of its products with itself."""
    if matrix.shape[0] > matrix.shape[1]:
        right, sizes, left = _dense(matrix.T.tocsr(), dimensions)
        return left.T, sizes, right.T
    squares, vectors = np.linalg.eigh((matrix @ matrix.T).toarray())
    sizes, left = np.sqrt(np.maximum(squares[-dimensions:], 0)), vectors[:, -dimensions:]
    right = (matrix.T @ left) / np.maximum(sizes, 1e-12)
    return left, sizes, right.T


def _sparse(matrix: Any, dimensions: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """By ARPACK; where it gives up, by random projections (Halko, Martinsson and Tropp 2011), which always end.

    These are less exact where singular values lie close together.
    """
    try:
        left, sizes, right = svds(matrix, k=dimensions, random_state=seed)
    except ArpackError as error:
        from sklearn.utils.extmath import randomized_svd  # here: importing it takes a second, and few come by

        log.info("ARPACK gave up on %s x %s (%s): by random projections", *matrix.shape, error)
        left, sizes, right = randomized_svd(matrix, dimensions, n_iter=10, random_state=seed)
    return left, sizes, right
