import sys

import numpy as np
import pyarrow as pa
import pytest

from clm_spark.errors import TooLittleDataError
from clm_spark.models import als_blocks
from clm_spark.models import als_numpy as module
from clm_spark.models.als_blocks import Block
from clm_spark.models.als_numpy import Weights, conjugate_gradients, fit_factors

PAIRS = pa.schema([("customer_index", pa.int32()), ("item_index", pa.int32()), ("strength", pa.float64())])
WEIGHTS = Weights(alpha=0.5, regularization=0.1)
NUM_CUSTOMERS, ITEMS, RANK = 30, np.array([2, 3, 5, 8, 13, 21, 34, 55]), 3


@pytest.fixture(scope="module")
def strengths():
    """Customers x items, most of them 0; everybody took to something, and everything was taken to."""
    random = np.random.default_rng(5)
    drawn = random.integers(1, 6, (NUM_CUSTOMERS, len(ITEMS))) * (random.random((NUM_CUSTOMERS, len(ITEMS))) < 0.3)
    drawn[np.arange(NUM_CUSTOMERS), np.arange(NUM_CUSTOMERS) % len(ITEMS)] += 1
    return drawn.astype(float)


@pytest.fixture(scope="module")
def pairs(spark, strengths):
    customers, columns = np.nonzero(strengths)
    rows = pa.table([customers, ITEMS[columns], strengths[customers, columns]], schema=PAIRS)
    nothing = pa.table([[0], [99], [0.0]], schema=PAIRS)  # seen, but of no weight
    return spark.createDataFrame(pa.concat_tables([rows, nothing])).repartition(3).persist()


def dense_als(strengths, item_vectors, iterations):
    """Both sides solved exactly, in float64, by the formula of the paper; customers last."""

    def solved(others, taken):
        gram, penalty = others.T @ others, WEIGHTS.regularization * np.eye(RANK)
        return np.stack(
            [
                np.linalg.solve(
                    gram + others.T @ np.diag(WEIGHTS.alpha * row) @ others + penalty * (row > 0).sum(),
                    others.T @ ((1 + WEIGHTS.alpha * row) * (row > 0)),
                )
                for row in taken
            ]
        )

    for _ in range(iterations):
        item_vectors = solved(solved(item_vectors, strengths), strengths.T)
    return solved(item_vectors, strengths), item_vectors


def vectors_of(frame):
    rows = frame.toArrow().sort_by("id")
    return rows["id"].to_numpy(), np.array(rows["features"].to_pylist())


@pytest.mark.parametrize(
    ("name", "blocks", "most_bytes"),
    [("", 4, 10_000), ("MOST_PAIRS_OF_ONE_TASK", 1, 10_000), ("MOST_BYTES_OF_ONE_TASK", 4, 0)],
)
def test_factors_are_those_of_a_dense_reference(pairs, strengths, monkeypatch, name, blocks, most_bytes):
    """In one task, and in blocks, because of many pairs or large matrices."""
    if name:
        monkeypatch.setattr(module, name, 0)
    in_blocks, taken = module._fitted_in_blocks, []
    monkeypatch.setattr(module, "_fitted_in_blocks", lambda *rows, **how: taken.append(name) or in_blocks(*rows, **how))
    monkeypatch.setattr(als_blocks, "MOST_BYTES_AT_DRIVER", most_bytes)
    monkeypatch.setattr(als_blocks, "MOST_BYTES_A_SLICE", 2 * RANK * 4)  # two items
    # As many steps as there are factors: conjugate gradients then end at the exact solution.
    assert module.STEPS == RANK
    begun = module._random(len(ITEMS), RANK, 7).astype(float)
    expected = dense_als(strengths, begun, iterations=2)
    found = fit_factors(pairs, rank=RANK, iterations=2, weights=WEIGHTS, blocks=blocks, seed=7)
    (customers, customer_vectors), (items, item_vectors) = map(vectors_of, found)
    assert taken == ([name] if name else [])
    assert (customers.tolist(), items.tolist()) == (list(range(NUM_CUSTOMERS)), ITEMS.tolist())
    assert np.allclose(item_vectors, expected[1], atol=1e-3)
    assert np.allclose(customer_vectors, expected[0], atol=1e-3)


@pytest.mark.parametrize("one_task", [10_000, 0])
def test_factors_are_the_same_in_every_run(pairs, monkeypatch, one_task):
    monkeypatch.setattr(module, "MOST_PAIRS_OF_ONE_TASK", one_task)

    def fitted(rows):
        found = fit_factors(rows, rank=RANK, iterations=1, weights=WEIGHTS, blocks=4, seed=7)
        return [vectors_of(frame)[1] for frame in found]

    assert all(map(np.array_equal, fitted(pairs), fitted(pairs.repartition(7, "item_index"))))


def test_dots_are_the_same_with_and_without_torchs_kernel(monkeypatch):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 7)
    random = np.random.default_rng(3)
    vectors, others = (random.normal(size=(rows, 4)).astype(np.float32) for rows in (9, 5))
    is_pair = random.random((9, 5)) < 0.5
    starts = np.append(0, is_pair.sum(axis=1).cumsum())
    columns = np.nonzero(is_pair)[1].astype(np.int32)
    block = Block(0, np.arange(9), starts, columns, np.ones(len(columns), np.float32), vectors)
    expected = (vectors @ others.T)[is_pair]
    assert np.allclose(module.dots(block, vectors, others), expected, atol=1e-6)
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    assert np.allclose(module.dots(block, vectors, others), expected, atol=1e-6)


def test_conjugate_gradients_leave_what_is_solved():
    systems = np.stack([np.diag([1.0, 2.0, 4.0]), np.eye(3)]).astype(np.float32)
    wanted = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    right = np.einsum("nij,nj->ni", systems, wanted)

    def product(rows):
        return np.einsum("nij,nj->ni", systems, rows)

    found = conjugate_gradients(product, np.zeros_like(wanted), right)
    assert np.allclose(found, wanted, atol=1e-5)
    assert np.array_equal(conjugate_gradients(product, wanted, np.zeros_like(wanted)), wanted)


def test_strengths_of_nothing_are_too_little(pairs):
    with pytest.raises(TooLittleDataError, match="no customer took to an item with a strength above 0"):
        fit_factors(pairs.where("strength = 0"), rank=RANK, iterations=1, weights=WEIGHTS, blocks=1, seed=7)


def test_a_fit_that_fails_keeps_nothing_in_the_cache(spark, pairs, monkeypatch):
    monkeypatch.setattr(module, "MOST_PAIRS_OF_ONE_TASK", 0)
    monkeypatch.setattr(module, "_solved_items", lambda *_: 1 / 0)
    cached = spark._jsparkSession.sharedState().cacheManager().numCachedEntries
    before = cached()
    with pytest.raises(ZeroDivisionError):
        fit_factors(pairs, rank=RANK, iterations=2, weights=WEIGHTS, blocks=2, seed=7)
    assert cached() == before
