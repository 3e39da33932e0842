import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import ArpackError

from clm_spark.models.ranker import truncated_svd as module

SEED = 7


def gives_up(*_, **__):
    raise ArpackError(3)


@pytest.mark.parametrize(("by_projections", "tolerance"), [(False, 1e-9), (True, 0.02)])
def test_the_largest_singular_vectors_are_numpys(by_projections, tolerance, monkeypatch):
    rows = sparse.random(60, 40, density=0.2, random_state=SEED, format="csr", dtype=np.float32)
    if by_projections:
        monkeypatch.setattr(module, "svds", gives_up)
    left, sizes, right = module.truncated_svd(rows, 8, seed=SEED)
    assert (left.shape, right.shape) == ((60, 8), (8, 40))
    exact = np.linalg.svd(rows.toarray().astype(float))
    np.testing.assert_allclose(np.sort(sizes)[::-1], exact.S[:8], rtol=tolerance)
    near = exact.U[:, :8] * exact.S[:8] @ exact.Vh[:8]
    np.testing.assert_allclose(left * sizes @ right, near, atol=tolerance)


@pytest.mark.parametrize("by_projections", [False, True])
@pytest.mark.parametrize("rank", [1, 3])
def test_a_matrix_of_lower_rank_is_told_whole(rank, by_projections, monkeypatch):
    random = np.random.default_rng(SEED)
    rows = sparse.csr_matrix(random.random((30, rank)) @ random.random((rank, 20)))
    if by_projections:
        monkeypatch.setattr(module, "svds", gives_up)
    left, sizes, right = module.truncated_svd(rows, 10, seed=SEED)
    np.testing.assert_allclose(left * sizes @ right, rows.toarray(), atol=1e-6)
