import numpy as np

from clm_spark.models import top_k as module
from clm_spark.models.top_k import Cells, top_k


def brute_force(users, items, k, hidden=()):
    """Every score sorted, one user at a time."""
    lists = []
    for row, user in enumerate(users):
        scored = [(-float(user @ item), i) for i, item in enumerate(items) if (row, i) not in hidden]
        lists.append([i for _, i in sorted(scored)][:k])
    return lists


def test_top_k_is_what_a_full_sort_gives(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_CELLS", 130)  # three users a block: borders are crossed
    random = np.random.default_rng(7)
    for name, high in [("hardly a tie", 1000), ("ties everywhere", 2)]:
        users = random.integers(-high, high + 1, (10, 4)).astype(np.float32)
        items = random.integers(-high, high + 1, (40, 4)).astype(np.float32)
        cells = {(row, column) for row in range(10) for column in random.choice(40, 15, replace=False)}
        rows, columns = np.array(sorted(cells)).T
        indices, scores = top_k(users, items, 7)
        assert indices.tolist() == brute_force(users, items, 7), name
        assert np.array_equal(scores, np.take_along_axis(users @ items.T, indices, axis=1)), name
        indices, _ = top_k(users, items, 7, hidden=Cells(rows, columns))
        assert indices.tolist() == brute_force(users, items, 7, cells), name


def test_many_items_with_ties_across_groups(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_CELLS", 4 * 1013)
    random = np.random.default_rng(3)
    # 1,013 items are cut into 48 groups and a rest; sums of small whole numbers are exact, and tie.
    users = random.integers(-3, 4, (9, 5)).astype(np.float32)
    users[4] = 0  # every item ties
    items = random.integers(-3, 4, (1013, 5)).astype(np.float32)
    indices, _ = top_k(users, items, 3)
    assert indices.tolist() == brute_force(users, items, 3)
    assert indices[4].tolist() == [0, 1, 2]


def test_places_stay_empty_when_items_run_out():
    users, items = np.ones((1, 2), np.float32), np.array([[1, 0], [2, 0], [3, 0]], np.float32)
    indices, scores = top_k(users, items, 4, hidden=Cells(np.array([0]), np.array([2])))
    assert indices.tolist() == [[1, 0, -1, -1]]
    assert scores.tolist() == [[2, 1, -np.inf, -np.inf]]
    everything = Cells(np.zeros(3, np.int64), np.arange(3))
    indices, scores = top_k(users, items, 2, hidden=everything)
    assert (indices.tolist(), scores.tolist()) == ([[-1, -1]], [[-np.inf, -np.inf]])
