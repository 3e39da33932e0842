"""The largest singular values of a sparse matrix, with their vectors."""

import logging
from typing import Any

from scipy.sparse.linalg import ArpackError, svds

from clm_spark.models.ranker.lines import Floats

log = logging.getLogger(__name__)


def truncated_svd(rows: Any, dimensions: int, *, seed: int) -> tuple[Floats, Floats, Floats]:
    """Left vectors, singular values and right vectors (`dimensions` of each, in no promised order) of a sparse matrix.

    By ARPACK. It gives up on some matrices, seen on a small shop's; then by random projections (Halko, Martinsson and
    Tropp 2011), which always end and, where singular values lie close together, are less exact.
    """
    matrix = rows.astype(float)
    try:
        left, sizes, right = svds(matrix, k=dimensions, random_state=seed)
    except ArpackError as error:
        from sklearn.utils.extmath import randomized_svd  # here: importing it takes a second, and few come by

        log.info("ARPACK gave up on %s x %s (%s): by random projections", *matrix.shape, error)
        left, sizes, right = randomized_svd(matrix, dimensions, n_iter=10, random_state=seed)
    return left, sizes, right
