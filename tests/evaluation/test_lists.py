import numpy as np
import pytest

from clm_spark.evaluation.lists import list_figures


def figures(spark, ranked, items, **asked):
    return {key: (row.value, row.num_tested) for key, row in rows_of(spark, ranked, items, **asked).items()}


def rows_of(spark, ranked, items, **asked):
    lists = spark.createDataFrame(ranked, "model string, customer_id string, rank int, item_id string")
    shop = spark.createDataFrame(items, "item_id string, num_bought bigint, category string")
    return {(row.model, row.metric): row for row in list_figures(lists, shop, **asked).collect()}


ITEMS = [("a", 8, "x"), ("b", 4, "x"), ("c", 3, "y"), ("d", 1, None)]


def test_worked_by_hand(spark):
    same = [("same", who, rank, item) for who in ("u", "v") for rank, item in enumerate("ab", 1)]
    each = [
        ("each", "u", 1, "a"), ("each", "u", 2, "c"), ("each", "v", 1, "b"), ("each", "v", 2, "d"),
        ("each", "v", 3, "a"),  # beyond the length
    ]  # fmt: skip
    found = figures(spark, same + each, ITEMS, length=2)
    assert found == {
        ("same", "coverage_at_2"): (pytest.approx(2 / 4), 2),
        ("each", "coverage_at_2"): (pytest.approx(1), 2),
        # Places 0, 0, 2, 2 and 1, 1, 1, 1
        ("same", "gini_at_2"): (pytest.approx(0.5), 2),
        ("each", "gini_at_2"): (pytest.approx(0), 2),
        ("same", "novelty_at_2"): (pytest.approx((1 + 2) / 2), 2),
        ("each", "novelty_at_2"): (pytest.approx((1 + np.log2(16 / 3) + 2 + 4) / 4), 2),
        ("same", "diversity_at_2"): (pytest.approx(0), 2),
        ("each", "diversity_at_2"): (pytest.approx(1), 2),
    }


def test_drawn_lists_against_plain_loops(spark):
    random = np.random.default_rng(3)
    bought, category = random.integers(0, 50, 30), random.integers(0, 4, 30)
    items = [(f"i{i}", int(bought[i]), f"c{category[i]}") for i in range(30)]
    lists = {f"u{u}": random.choice(30, 6, replace=False, p=(1 + bought) / (1 + bought).sum()) for u in range(12)}
    ranked = [("m", who, rank, f"i{item}") for who, of in lists.items() for rank, item in enumerate(of, 1)]
    found = {metric: value for (_, metric), (value, _) in figures(spark, ranked, items, length=6).items()}
    places = np.sort(np.bincount(np.concatenate(list(lists.values())), minlength=30))
    gini = np.abs(places[:, None] - places[None]).sum() / (2 * 30 * 30 * places.mean())
    pairs = [(a, b) for of in lists.values() for a in of for b in of if a < b]
    assert found == {
        "coverage_at_6": pytest.approx((places > 0).mean()),
        "gini_at_6": pytest.approx(gini),
        "novelty_at_6": pytest.approx(
            np.mean([np.log2(bought.sum() / max(1, bought[item])) for of in lists.values() for item in of])
        ),
        "diversity_at_6": pytest.approx(np.mean([category[a] != category[b] for a, b in pairs])),
    }


def test_an_item_that_nobody_bought_and_a_list_of_one(spark):
    found = figures(spark, [("m", "u", 1, "new")], ITEMS, length=2)
    assert found["m", "novelty_at_2"] == (pytest.approx(4), 1)
    assert ("m", "diversity_at_2") not in found, "a list of one item has none"
    assert found["m", "coverage_at_2"] == (pytest.approx(1 / 5), 1), "of four that were bought and itself"
    shown = [("m", who, rank, item) for who, of in (("u", "ax"), ("v", "ya")) for rank, item in enumerate(of, 1)]
    found = figures(spark, shown, ITEMS[:2], length=2)
    assert found["m", "coverage_at_2"] == (pytest.approx(3 / 4), 2), "b is in no list"
    # Places 0, 1, 1, 2
    assert found["m", "gini_at_2"] == (pytest.approx(0.375), 2)


def test_lists_without_a_diversity_do_not_count_in_its_error(spark):
    pairs, ones = (("u", "ab"), ("v", "bd"), ("w", "ca")), (("x", "a"), ("y", "b"))
    ranked = [("m", who, rank, item) for who, of in (*pairs, *ones) for rank, item in enumerate(of, 1)]
    found = {metric: row for (_, metric), row in rows_of(spark, ranked, ITEMS, length=2).items()}
    assert found["diversity_at_2"].value == pytest.approx(2 / 3)
    assert found["diversity_at_2"].error == pytest.approx(np.std([0, 1, 1], ddof=1) / np.sqrt(3))


def test_novelty_and_diversity_have_the_standard_error_of_a_mean_over_customers(spark):
    ranked = [
        ("m", who, rank, item) for who, of in (("u", "ab"), ("v", "bd"), ("w", "ca")) for rank, item in enumerate(of, 1)
    ]
    found = {metric: row for (_, metric), row in rows_of(spark, ranked, ITEMS, length=2).items()}
    novelty = [(1 + 2) / 2, (2 + 4) / 2, (np.log2(16 / 3) + 1) / 2]
    assert found["novelty_at_2"].value == pytest.approx(np.mean(novelty))
    assert found["novelty_at_2"].error == pytest.approx(np.std(novelty, ddof=1) / np.sqrt(3))
    assert found["diversity_at_2"].value == pytest.approx(2 / 3)
    assert found["diversity_at_2"].error == pytest.approx(np.std([0, 1, 1], ddof=1) / np.sqrt(3))
    assert found["coverage_at_2"].error is None
    assert found["gini_at_2"].error is None
