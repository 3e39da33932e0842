import numpy as np
import pytest

from clm_spark.models.ranker.lines import Lines
from clm_spark.models.ranker.transformer_source import expected_next, sequences_of, trained
from clm_spark.models.transformer.settings import TransformerSettings

NUM_ITEMS = 12


def lines(of_customers):
    """Of each customer the items by age."""
    rows = [(who, item, age) for who, of in enumerate(of_customers) for age, items in of.items() for item in items]
    customers, items, ages = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    ones = np.ones(len(items))
    return Lines.of(customers, items, ages, ones, ones, shape=(len(of_customers), NUM_ITEMS))


def test_purchases_become_events_oldest_first():
    events, lengths = sequences_of(lines([{9: [4], 2: [0, 7, 3], 1: [5]}, {}, {3: [1]}]))
    assert lengths.tolist() == [5, 0, 1]
    assert events[0].tolist() == [5, 0, 0, 0]
    assert sorted(events[1:4, 0].tolist()) == [1, 4, 8]
    # Seven days are 10,080 minutes: 1 + floor(log2(10,081)) is 14; the same day is gap 1, a day 11.
    assert events[1:5, 2].tolist() == [14, 1, 1, 11]
    assert events[4].tolist() == [6, 0, 11, 0]
    assert events[5].tolist() == [2, 0, 0, 0]
    # A customer's events do not depend on who is beside.
    alone, _ = sequences_of(lines([{9: [4], 2: [0, 7, 3], 1: [5]}]))
    assert alone.tolist() == events[:5].tolist()


@pytest.mark.parametrize("has_memory", [True, False])
def test_it_learns_what_follows(has_memory):
    """Everyone goes round the items, one a day: the next one is found, also for customers who are not of reference."""
    random = np.random.default_rng(7)

    def walks(num):
        starts, lengths = random.integers(0, NUM_ITEMS, num), random.integers(3, 9, num)
        return [
            {int(length - step): [int((start + step) % NUM_ITEMS)] for step in range(length)}
            for start, length in zip(starts, lengths, strict=True)
        ]

    settings = TransformerSettings(
        launcher="one_process", width=16, max_length=16, dropout=0.0, horizon=1, steps=8, negatives=0, batch_size=16,
        learning_rate=0.02, epochs=12, repeat_memory=has_memory,
    )  # fmt: skip
    files = trained(lines([*walks(150), {}]), settings)
    asked = walks(40)
    found = expected_next(files, lines([*asked, {}]))
    assert found.shape == (41, NUM_ITEMS)
    assert np.allclose(found[:40].sum(axis=1), 1, atol=1e-4)
    assert found[40].tolist() == [0.0] * NUM_ITEMS
    following = [(of[1][0] + 1) % NUM_ITEMS for of in asked]
    assert np.mean(found[:40].argmax(axis=1) == following) > 0.9
