import random
from collections import Counter
from itertools import combinations

import pyarrow as pa
import pytest

from clm_spark.features import basket_pairs as pairs
from clm_spark.tables.catalog import RELATIONS

SCHEMA = pa.schema([("relation", pa.string()), ("baskets", pa.list_(pa.list_(pa.int32())))])


def drawn_customers():
    """Rows of customers and relations, each with the baskets of some days; the largest index has 32 bits."""
    drawn, items = random.Random(1), [*range(1, 20), 2**31 - 1]
    return [
        {
            "relation": relation,
            "baskets": [sorted(drawn.sample(items, drawn.randint(1, 6))) for _ in range(drawn.randint(1, 5))],
        }
        for _ in range(50)
        for relation in drawn.sample(RELATIONS, drawn.randint(1, 2))
    ]


@pytest.mark.parametrize("at_once", [1, 5, 50, 1_000_000])
def test_batches_and_their_parts_count_what_sets_count(at_once, monkeypatch):
    monkeypatch.setattr(pairs, "PAIRS_AT_ONCE", at_once)
    rows = drawn_customers()
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    days, customers = Counter(), Counter()
    for counted in pairs._count_batches([batch.slice(0, 30), batch.slice(30), batch.slice(0, 0)]):
        for row in counted.to_pylist():
            pair = row["relation"], row["item_index"], row["neighbour_index"]
            days[pair] += row["num_days"]
            customers[pair] += row["num_customers"]
    expected = [
        [(row["relation"], *pair) for basket in row["baskets"] for pair in combinations(basket, 2)] for row in rows
    ]
    assert days == Counter(pair for of_customer in expected for pair in of_customer)
    assert customers == Counter(pair for of_customer in expected for pair in set(of_customer))
    assert len(days) > 300
