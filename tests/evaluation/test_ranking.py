import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from clm_spark.evaluation.ranking import customer_ranking, mean_figures

RANKED = "model string, customer_id string, rank int, item_id string"


def figures(spark, ranked, truth, **asked):
    lists = spark.createDataFrame(ranked, RANKED)
    taken = spark.createDataFrame(truth, "customer_id string, item_id string")
    found = mean_figures(customer_ranking(lists, taken, **asked))
    return {(r.model, r.metric): (r.value, r.num_tested) for r in found.collect()}


def test_worked_by_hand(spark):
    truth = [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("cold", "x")]
    ranked = [
        ("m", "a", 1, "x"), ("m", "a", 2, "q"), ("m", "a", 3, "z"),
        ("m", "b", 1, "q"), ("m", "b", 2, "x"), ("m", "b", 3, "r"),
        ("m", "nobody asked", 1, "x"),
        ("useless", "a", 1, "q"),
    ]  # fmt: skip
    found = figures(spark, ranked, truth, models=["m", "useless", "silent"], short=2, long=3)
    best_of_two, best_of_three = 1 + 1 / np.log2(3), 1 + 1 / np.log2(3) + 1 / 2
    assert {metric: value for (model, metric), (value, _) in found.items() if model == "m"} == {
        # a: 2 of 3, b: 1 of 1, cold: no list; of the first two: a 1 of 3, b 1 of 1
        "recall_at_2": pytest.approx((1 / 3 + 1 + 0) / 3),
        "recall_at_3": pytest.approx((2 / 3 + 1 + 0) / 3),
        # a hits at 1 of two possible, b at 2 of one possible
        "ndcg_at_2": pytest.approx((1 / best_of_two + 1 / np.log2(3) + 0) / 3),
        "ndcg_at_3": pytest.approx(((1 + 1 / 2) / best_of_three + 1 / np.log2(3) + 0) / 3),
        "precision_at_2": pytest.approx((1 / 2 + 1 / 2 + 0) / 3),
        "hit_rate_at_2": pytest.approx(2 / 3),
        "mrr_at_3": pytest.approx((1 + 1 / 2 + 0) / 3),
    }
    # The second lists nothing that was taken, the third nothing for anybody, and is measured all the same.
    assert {value for (model, _), (value, _) in found.items() if model != "m"} == {0.0}
    assert {num_tested for _, num_tested in found.values()} == {3}
    assert {model for model, _ in found} == {"m", "useless", "silent"}


def test_an_ideal_list_of_all_that_was_taken(spark):
    truth = [("a", item) for item in "xyz"]
    found = figures(
        spark, [("m", "a", 1, "x"), ("m", "a", 2, "y")], truth, models=["m"], short=2, long=3, is_ideal_cut=False
    )
    assert found["m", "ndcg_at_2"][0] == pytest.approx((1 + 1 / np.log2(3)) / (1 + 1 / np.log2(3) + 1 / 2))


def test_ndcg_agrees_with_scikit_learn(spark):
    random = np.random.default_rng(5)
    scores, taken = random.random((6, 30)), random.random((6, 30)) < 0.2
    taken[:, 0] = True
    order = np.argsort(-scores, axis=1)
    ranked = [("m", f"c{u}", r + 1, f"i{order[u, r]}") for u in range(6) for r in range(30)]
    truth = [(f"c{u}", f"i{i}") for u, i in np.argwhere(taken)]
    found = figures(spark, ranked, truth, models=["m"])
    assert found["m", "ndcg_at_10"][0] == pytest.approx(ndcg_score(taken, scores, k=10))
    hits = [taken[u, order[u, :20]].sum() / taken[u].sum() for u in range(6)]
    assert found["m", "recall_at_20"][0] == pytest.approx(np.mean(hits))
