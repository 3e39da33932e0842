import numpy as np
import pytest
from scipy import sparse

from clm_spark.models.ranker.scores import CategoryScores, DenseScores, SparseScores

NUM_ROWS, NUM_ITEMS, NUM_CATEGORIES = 6, 40, 5


@pytest.fixture(scope="module")
def by_category():
    """With ties, items and a category that nobody buys, and a customer who takes to nothing."""
    random = np.random.default_rng(7)
    categories = random.integers(0, NUM_CATEGORIES - 1, NUM_ITEMS)  # the last one has no items
    in_category = random.integers(0, 4, NUM_ITEMS).astype(np.float32) / 4
    in_category[categories == 1] = 0
    shares = random.integers(0, 3, (NUM_ROWS, NUM_CATEGORIES)).astype(np.float32) / 2
    shares[2] = 0
    sellers = np.lexsort((np.arange(NUM_ITEMS), -in_category, categories))
    starts = np.append(0, np.cumsum(np.bincount(categories, minlength=NUM_CATEGORIES)))
    return CategoryScores(shares, categories, in_category, sellers, starts)


def test_the_best_of_each_row_are_the_same_in_every_way(by_category):
    rows, items = np.divmod(np.arange(NUM_ROWS * NUM_ITEMS), NUM_ITEMS)
    cells = by_category.at(rows, items).reshape(NUM_ROWS, NUM_ITEMS)
    ways = (by_category, DenseScores(cells), SparseScores(sparse.csr_matrix(cells)))
    asked = np.sort(np.random.default_rng(3).choice(cells.size, 30, replace=False))
    for way in ways:
        np.testing.assert_array_equal(way.at(asked // NUM_ITEMS, asked % NUM_ITEMS), cells.ravel()[asked])
    for count in (1, 2, 5, NUM_ITEMS, 3 * NUM_ITEMS):
        expected = []
        for row in range(NUM_ROWS):
            order = np.argsort(-cells[row], kind="stable")[:count]
            expected += [row * NUM_ITEMS + item for item in order if cells[row, item] > 0]
        assert 0 < len(expected) < cells.size
        for way in ways:
            assert sorted(way.best(count)) == sorted(expected), (type(way), count)


def test_pairs_that_are_hidden_are_not_among_the_best(by_category):
    rows, items = np.divmod(np.arange(NUM_ROWS * NUM_ITEMS), NUM_ITEMS)
    cells = by_category.at(rows, items).reshape(NUM_ROWS, NUM_ITEMS)
    hidden = np.union1d(np.arange(3, NUM_ITEMS), np.flatnonzero(cells)[::3])  # of the first customer nearly all
    left = cells.copy()
    left.ravel()[hidden] = 0
    for way in (by_category, DenseScores(cells), SparseScores(sparse.csr_matrix(cells))):
        hiding = way.without(hidden)
        np.testing.assert_array_equal(hiding.at(rows, items), left.ravel())
        assert sorted(hiding.best(4)) == sorted(DenseScores(left).best(4))
        np.testing.assert_array_equal(way.at(rows, items), cells.ravel(), err_msg="what it was made of is as before")


def test_rows_of_nothing_have_no_best():
    nothing = np.zeros((3, 4), np.float32)
    assert len(DenseScores(nothing).best(2)) == len(SparseScores(sparse.csr_matrix(nothing)).best(2)) == 0


def test_what_is_below_0_is_not_among_the_best():
    cells = np.array([[0.1, 0.9, -1.0, 0.5], [0.0, 0.0, -0.3, 0.2]], np.float32)
    for way in (DenseScores(cells), SparseScores(sparse.csr_matrix(cells))):
        assert sorted(way.best(2)) == [1, 3, 7]
        assert sorted(way.best(9)) == [0, 1, 3, 7]
