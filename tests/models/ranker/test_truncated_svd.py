import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import ArpackError

from clm_spark.models.ranker import truncated_svd as module

SEED = 7
WAYS = ["dense", "arpack", "projections"]


def gives_up(*_, **__):
    raise ArpackError(3)


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    if request.param != "dense":
        monkeypatch.setattr(module, "DENSE", 0)
    if request.param == "projections":
        monkeypatch.setattr(module, "eigsh", gives_up)
    return request.param


@pytest.mark.parametrize("shape", [(60, 40), (40, 60)])
def test_the_largest_singular_vectors_are_numpys(way, shape):
    of_sizes, of_vectors = (0.02, 0.02) if way == "projections" else (1e-9, 1e-6)
    rows = sparse.random(*shape, density=0.2, random_state=SEED, format="csr", dtype=np.float32)
    left, sizes, right = module.truncated_svd(rows, 8, seed=SEED)
    assert (left.shape, right.shape) == ((shape[0], 8), (8, shape[1]))
    exact = np.linalg.svd(rows.toarray().astype(float))
    np.testing.assert_allclose(np.sort(sizes)[::-1], exact.S[:8], rtol=of_sizes)
    near = exact.U[:, :8] * exact.S[:8] @ exact.Vh[:8]
    np.testing.assert_allclose(left * sizes @ right, near, atol=of_vectors)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_matrix_of_lower_rank_is_told_whole(way, rank):
    random = np.random.default_rng(SEED)
    rows = sparse.csr_matrix(random.random((30, rank)) @ random.random((rank, 20)))
    left, sizes, right = module.truncated_svd(rows, 10, seed=SEED)
    assert len(sizes) == rank
    np.testing.assert_allclose(left * sizes @ right, rows.toarray(), atol=1e-6)


def test_vectors_that_would_be_there_by_chance_are_not(way):
    """Thirty customers bought one item each that nobody else did: their singular values are 1, and equally many are cut off."""
    shared = np.zeros((3, 40))
    shared[:, :4] = [[3, 2, 0, 0], [2, 3, 0, 0], [0, 0, 2, 2]]
    alone = np.zeros((30, 40))
    alone[range(30), range(6, 36)] = 1
    rows = sparse.csr_matrix(np.vstack([shared, alone]))
    left, sizes, right = module.truncated_svd(rows, 12, seed=SEED)
    assert sorted(sizes.round(6)) == [2.828427, 5.0]  # another is 1, too: (1, -1) of the first two customers
    mixed = np.zeros((33, 40))
    mixed[:2, :2], mixed[2, 2:4] = 2.5, 2
    np.testing.assert_allclose(left * sizes @ right, mixed, atol=1e-6)


def test_nothing_stands_apart_where_all_are_equal(way):
    left, sizes, right = module.truncated_svd(sparse.eye(20, 30, format="csr"), 5, seed=SEED)
    assert (left.shape, sizes.shape, right.shape) == ((20, 0), (0,), (0, 30))
