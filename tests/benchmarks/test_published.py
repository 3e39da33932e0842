"""The metric code against figures that others publish, all items ranked."""

import gzip
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from ta_feng import FILE, FOLDER, baskets_of, rule_lists

from clm_spark.evaluation.ranking import customer_ranking, mean_figures
from clm_spark.models.comparison import stacked

BEAUTY = Path(__file__).parents[3] / "shared" / "data" / "amazon_beauty" / "beauty-5core.txt.gz"


def as_rows(spark, lists):
    sizes = [len(each) for each in lists]
    return spark.createDataFrame(
        pa.table(
            {
                "customer_id": [str(number) for number, size in enumerate(sizes) for _ in range(size)],
                "rank": pa.array([place for size in sizes for place in range(1, size + 1)], pa.int32()),
                "item_id": [str(item) for each in lists for item in each],
            }
        )
    )


def figures_of(spark, lists, truth, **asked):
    rows = stacked({name: as_rows(spark, each) for name, each in lists.items()})
    taken = as_rows(spark, truth).select("customer_id", "item_id")
    found = mean_figures(customer_ranking(rows, taken, models=list(lists), **asked)).collect()
    return {(row.model, row.metric): (round(row.value, 4), row.num_tested) for row in found}


@pytest.mark.skipif(
    not (FOLDER / FILE).exists(), reason="Ta-Feng's baskets are not there: they may not be redistributed"
)
def test_frequency_rules_on_ta_feng(spark):
    known, last = baskets_of(FOLDER)
    found = figures_of(spark, rule_lists(known), last, is_ideal_cut=False)
    assert found["most popular", "recall_at_10"] == (0.0803, 13_858)
    published = {
        "most popular": (0.0803, 0.0842),
        "own most frequent": (0.1062, 0.0953),
        "own, then popular": (0.1195, 0.1007),
    }
    assert {
        rule: tuple(found[rule, metric][0] for metric in ("recall_at_10", "ndcg_at_10")) for rule in published
    } == published


@pytest.mark.skipif(not BEAUTY.exists(), reason="Amazon Beauty is not there: it may not be redistributed")
def test_popularity_on_amazon_beauty(spark):
    with gzip.open(BEAUTY, "rt") as file:
        taken = [line.split()[1:] for line in file]
    counts = Counter(item for items in taken for item in items[:-1])
    popular = sorted(counts, key=lambda item: (-counts[item], int(item)))[:500]
    lists = [[item for item in popular if item not in set(items[:-1])][:20] for items in taken]
    found = figures_of(spark, {"popularity": lists}, [items[-1:] for items in taken])
    # Of one item to be found the recall is the hit rate.
    assert [found["popularity", f"recall_at_{k}"] for k in (10, 20)] == [(0.0135, 22_363), (0.0217, 22_363)]
    assert found["popularity", "hit_rate_at_10"] == found["popularity", "recall_at_10"]
