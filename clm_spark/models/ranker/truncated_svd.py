"""The largest singular values of a sparse matrix, with their vectors."""

import logging
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from clm_spark.models.ranker.lines import Floats, Singles

log = logging.getLogger(__name__)

DENSE = 1_000  # rows or columns up to which the eigenvectors of all of them are found: a second or less
APART = 1e-5  # of the largest: singular values nearer to each other than this count as equal
SLICE = 1 << 16  # rows of the long side made at once: 34 MB of 64 dimensions


def truncated_svd(rows: Any, dimensions: int, *, seed: int) -> tuple[Singles, Floats, Singles]:
    """Left vectors, singular values and right vectors of a sparse matrix: `dimensions` of each at most, in no promised order.

    Fewer where the next singular value is the same as the last: their vectors may be turned among each other, and which of
    them came first would be chance. So it is where many customers bought one thing that nobody else did. Also fewer than
    the matrix's rank, where that is lower. Beside what it gives it holds little: the vectors of the longer side are made in
    slices.
    """
    matrix = rows.astype(float)
    if matrix.shape[0] > matrix.shape[1]:
        right, sizes, left = truncated_svd(matrix.T.tocsr(), dimensions, seed=seed)
        return left.T, sizes, right.T
    by_column = matrix.T.tocsr()
    if matrix.shape[0] <= DENSE:
        space = _dense(matrix, dimensions + 1)
    else:
        space = _sparse(matrix, by_column, dimensions + 1, seed)
    products = np.zeros((space.shape[1], space.shape[1]))
    for start in range(0, matrix.shape[1], SLICE):
        some = by_column[start : start + SLICE] @ space
        products += some.T @ some
    squares, turns = np.linalg.eigh(products)  # the singular vectors within the space (Rayleigh and Ritz)
    sizes, left = np.sqrt(np.maximum(squares, 0)), space @ turns
    next_one = sizes.min() if len(sizes) > dimensions else 0.0
    stands_apart = sizes > next_one + APART * sizes.max(initial=0.0)
    left, sizes = left[:, stands_apart], sizes[stands_apart]
    right = np.empty((matrix.shape[1], len(sizes)), np.float32)
    for start in range(0, matrix.shape[1], SLICE):
        right[start : start + SLICE] = by_column[start : start + SLICE] @ left / sizes
    return left.astype(np.float32), sizes, right.T


def _dense(matrix: Any, dimensions: int) -> Floats:
    """Rows x dimensions, at right angles: the eigenvectors of the largest products of the rows with each other."""
    _, vectors = np.linalg.eigh((matrix @ matrix.T).toarray())
    largest: Floats = vectors[:, -dimensions:]
    return largest


def _sparse(matrix: Any, by_column: Any, dimensions: int, seed: int) -> Floats:
    """As `_dense`, by ARPACK, from the matrix and its transpose; where it gives up, by random projections (Halko, Martinsson and Tropp 2011), which always end.

    These are less exact where singular values lie close together.
    """
    num_rows = matrix.shape[0]
    dimensions = min(dimensions, num_rows - 1)
    products = LinearOperator((num_rows, num_rows), matvec=lambda vector: matrix @ (by_column @ vector), dtype=float)
    try:
        begun = np.random.default_rng(seed).standard_normal(num_rows)
        _, vectors = eigsh(products, k=dimensions, v0=begun)
    except ArpackError as error:
        from sklearn.utils.extmath import randomized_svd  # here: importing it takes a second, and few come by

        log.info("ARPACK gave up on %s x %s (%s): by random projections", *matrix.shape, error)
        vectors, _, _ = randomized_svd(matrix, dimensions, n_iter=10, random_state=seed)
    space: Floats = np.linalg.qr(vectors)[0]  # ARPACK's are not quite at right angles where values lie close together
    return space
