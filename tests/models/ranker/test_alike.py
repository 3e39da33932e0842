"""Neighbours, SVD and NMF on a shop of three groups of items, whose customers buy from one group each."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from bought_days import AS_OF, NUM_ITEMS, inputs_of, written
from pyspark.sql import DataFrame

from clm_spark.models.ranker.alike import Nmf, NmfSettings, Svd, UserNeighbours, groups_of_items
from clm_spark.models.ranker.histories import histories_at
from clm_spark.models.ranker.knowledge import numbered, taste_vectors
from clm_spark.models.ranker.learned import HISTORY
from clm_spark.models.ranker.lines import histories_of, joined
from clm_spark.models.ranker.lists import candidate_options, known_at
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.ranker.sources import TASTES, blocks_of
from clm_spark.tables.lake import Lake

NUM_CUSTOMERS, GROUPS = 60, 3
IN_GROUP = NUM_ITEMS // GROUPS
SECTIONS = {"candidates": {"neighbours": 10, "tastes": GROUPS}, "nmf": {"dimensions": GROUPS, "iterations": 200}}


def bought():
    """Of each customer four items of a group of eight, each twice."""
    random = np.random.default_rng(2)
    for customer in range(NUM_CUSTOMERS):
        for item in random.choice(IN_GROUP, 4, replace=False):
            for age in random.choice(np.arange(1, 100), 2, replace=False):
                day = AS_OF - timedelta(days=int(age))
                yield f"c{customer}", f"i{customer % GROUPS * IN_GROUP + item}", day, day, 1, 0


@pytest.fixture
def inputs(new_lake):
    lake = new_lake(**SECTIONS)
    written(lake, sorted({*bought()}))
    return inputs_of(lake, [f"c{customer}" for customer in range(NUM_CUSTOMERS)])


def test_each_finds_the_customers_own_group(inputs):
    for model in (UserNeighbours(), Svd(), Nmf()):
        rows = model.lists("", inputs, length=6).collect()
        of = {}
        for row in rows:
            of.setdefault(row.customer_id, []).append(row)
        assert len(of) == NUM_CUSTOMERS, model.name
        assert {row["rank"] for row in rows} <= {1, 2, 3, 4, 5, 6}
        for customer, items in of.items():
            groups = [int(row.item_id[1:]) // IN_GROUP for row in items]
            assert groups == [int(customer[1:]) % GROUPS] * len(items), (model.name, customer, groups)
            assert len(items) >= 5, "more than the four that the customer bought"


def test_svd_scores_are_projections(inputs):
    """Onto the right singular vectors of all customers, which here are the customers of reference."""
    (batch,) = histories_at(inputs, [AS_OF]).repartition(1).toArrow().combine_chunks().to_batches()
    known = known_at(inputs).value
    (block,) = blocks_of([batch], known, candidate_options(inputs.settings))
    rows = taste_vectors(block.histories.bought, known.rarity).toarray()
    _, _, right = np.linalg.svd(rows.astype(float), full_matrices=False)
    np.testing.assert_allclose(block.score(TASTES).cells, rows @ right[:GROUPS].T @ right[:GROUPS], atol=1e-5)


def test_nmf_finds_parts_that_rows_are_sums_of():
    random = np.random.default_rng(5)
    parts = np.kron(np.eye(3), np.ones((1, 4))) * random.uniform(0.5, 2, 12)
    rows = random.uniform(0, 1, (50, 3)) @ parts
    found = groups_of_items(rows, NmfSettings(dimensions=3, iterations=500))
    cosine = (found / np.linalg.norm(found, axis=1)[:, None]) @ (parts / np.linalg.norm(parts, axis=1)[:, None]).T
    np.testing.assert_allclose(cosine.max(axis=0), 1, atol=5e-3)
    assert groups_of_items(rows[:2], NmfSettings(dimensions=3)).shape == (2, 12), "no more groups than customers"
    of_one_kind = groups_of_items(np.array([[0, 0, 1], [0, 0.63, 0.09], [0, 0, 0]]), NmfSettings(dimensions=3))
    assert np.isfinite(of_one_kind).all()


def test_long_histories_are_cut_before_they_are_gathered(inputs):
    """One id may be that of a till: what is kept is what `histories_of` would keep of all of it."""
    whole = histories_at(inputs, [AS_OF]).select(*HISTORY)
    assert {len(row["items"]) for row in whole.collect()} == {8}
    settings = inputs.lake.settings
    short = settings.with_section(settings.of(CandidateSettings).model_copy(update={"longest_history": 3}))
    kept = histories_at(replace(inputs, lake=Lake(inputs.lake.spark, short)), [AS_OF]).select(*HISTORY)
    assert {len(row["items"]) for row in kept.collect()} == {3}
    both = [
        histories_of(joined(rows.sort("customer_key").toArrow().to_batches()), num_items=NUM_ITEMS + 1, longest=3)
        for rows in (whole, kept)
    ]
    for name in ("customers", "items", "ages", "units", "spent"):
        np.testing.assert_array_equal(*(getattr(histories.bought, name) for histories in both))


def test_categories_are_numbered_by_their_whole_names():
    assert numbered(["b", "a", "b", "a\0", ""]).tolist() == [3, 1, 3, 2, 0]


def test_histories_are_gathered_once_for_all_and_freed(inputs):
    """Neighbours, SVD and what both know read the same frame of Spark's cache, until the inputs are closed."""
    lists = [model.lists("", inputs, length=3) for model in (UserNeighbours(), Svd())]
    for rows in lists:
        assert "InMemoryTableScan" in rows._jdf.queryExecution().executedPlan().toString()
        assert rows.count() > 0
    (histories,) = (held for held in inputs.held.values() if isinstance(held, DataFrame))
    assert histories.storageLevel.useMemory
    inputs.close()
    assert not histories.storageLevel.useMemory
    assert not inputs.held
