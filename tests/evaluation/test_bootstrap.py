import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score, roc_auc_score

from clm_spark.errors import ModelError
from clm_spark.evaluation.bootstrap import WITHOUT_INTERVAL, intervals, paired_differences, resampled
from clm_spark.evaluation.curves import METRICS, Curve
from clm_spark.evaluation.samples import Means, ScoredLabels, sampled_labels, sampled_means


def labels_of(num, random):
    """Two probabilities of one truth that have much in common; the second knows a little more."""
    happened = random.random(num) < 0.15
    first = random.normal(size=num) + 1.2 * happened
    second = 0.8 * first + 0.6 * random.normal(size=num) + 0.3 * happened
    scores = {"first": 1 / (1 + np.exp(2.4 - 1.2 * first)), "second": 1 / (1 + np.exp(2 - second))}
    return ScoredLabels({model: Curve.of(x, happened) for model, x in scores.items()}, num)


def test_weighted_figures_agree_with_scikit_learn():
    random = np.random.default_rng(2)
    happened = random.random(400) < 0.2
    smooth = np.clip(random.random(400) * 0.6 + 0.3 * happened, 0, 1)
    for scores in (smooth, smooth.round(1), np.full(400, 0.5), -smooth.round(2)):
        curve = Curve.of(scores, happened)
        for counts in resampled(400, replicates=5, seed=4):
            found = curve.figures(counts)
            assert found["auc"] == pytest.approx(roc_auc_score(happened, scores, sample_weight=counts), abs=1e-12)
            expected = average_precision_score(happened, scores, sample_weight=counts)
            assert found["average_precision"] == pytest.approx(expected, abs=1e-12)
            share = np.average(happened, weights=counts)
            error = np.average((scores - happened) ** 2, weights=counts)
            skill = 1 - error / share / (1 - share) if scores.min() >= 0 else float("nan")
            assert found["brier_skill"] == pytest.approx(skill, nan_ok=True)
            order = np.argsort(-scores, kind="stable")
            drawn = np.repeat(happened[order], counts[order].astype(int))
            assert found["lift_at_top_decile"] == pytest.approx(drawn[:40].mean() / share)


def test_a_customers_days_are_drawn_together():
    random = np.random.default_rng(6)
    happened, scores = random.random(60) < 0.4, random.random(60)
    customers = np.arange(60) % 20
    counts = next(resampled(20, replicates=1, seed=1))
    found = Curve.of(scores, happened, customers=customers).figures(counts)
    expected = roc_auc_score(happened, scores, sample_weight=counts[customers])
    assert found["auc"] == pytest.approx(expected)
    error = np.average((scores - happened) ** 2, weights=counts[customers])
    share = np.average(happened, weights=counts[customers])
    assert found["brier_skill"] == pytest.approx(1 - error / share / (1 - share))


def test_intervals_of_means_agree_with_scipy():
    values = np.random.default_rng(5).exponential(size=(500, 2, 1))
    sample = Means(values, ("a", "b"), ("recall_at_20",))
    found = intervals(sample, ["recall_at_20"], replicates=4000, seed=1)
    for place, model in enumerate("ab"):
        oracle = bootstrap((values[:, place, 0],), np.mean, n_resamples=4000, method="percentile", rng=2)
        expected = oracle.confidence_interval
        assert found[model, "recall_at_20"].low == pytest.approx(expected.low, abs=0.01)
        assert found[model, "recall_at_20"].high == pytest.approx(expected.high, abs=0.01)
    around = intervals(sample, ["recall_at_20"], replicates=4000, seed=1, points={("a", "recall_at_20"): 3.0})
    moved = around["a", "recall_at_20"].low - found["a", "recall_at_20"].low
    assert moved == pytest.approx(3 - values[:, 0, 0].mean()), (
        "the interval of a sample lies around all customers' figure"
    )


def test_intervals_hold_the_truth_as_often_as_they_say():
    everybody = labels_of(500_000, np.random.default_rng(9))
    told = [metric for metric in METRICS if metric not in WITHOUT_INTERVAL]
    truth = everybody.figures(("first", "second"), told, np.ones(500_000))
    random, hits, rounds = np.random.default_rng(10), [], 100
    for seed in range(rounds):
        sample = labels_of(500, random)
        found = intervals(sample, METRICS, replicates=100, seed=seed)
        (difference,) = paired_differences(
            sample, "auc", of=["second"], against="first", replicates=100, seed=seed
        ).values()
        hits.append(
            [found["first", m].low <= truth[0, i] <= found["first", m].high for i, m in enumerate(told)]
            + [difference.low <= truth[1, 0] - truth[0, 0] <= difference.high]
        )
    assert {metric for _, metric in found} == {*told}, "an interval that does not hold is none"
    # Of 100 at 95 %, 95 hold it, more or less 2.2: three times that is left to luck.
    assert (np.sum(hits, axis=0) >= 88).all()
    assert np.mean(hits) < 0.99


def test_a_better_model_is_told_from_an_equal_one_and_from_luck():
    random = np.random.default_rng(12)
    sample = labels_of(20_000, random)
    better = paired_differences(sample, "auc", of=["second"], against="first", replicates=200, seed=1)["second"]
    assert better.low > 0
    observed = sample.figures(("first", "second"), ["auc"], np.ones(20_000))
    assert better.point == pytest.approx(observed[1, 0] - observed[0, 0])
    alone = intervals(sample, ["auc"], replicates=200, seed=1)
    assert alone["first", "auc"].high > alone["second", "auc"].low, "apart the two intervals would not tell"

    same = ScoredLabels({"a": sample.curves["first"], "b": sample.curves["first"]}, 20_000)
    tie = paired_differences(same, "auc", of=["a"], against="b", replicates=20, seed=1)["a"]
    assert (tie.low, tie.point, tie.high) == (0, 0, 0)
    assert tie.low <= 0

    names, wins = "abcdefghi", {1: 0, 8: 0}
    for seed in range(200):
        noise = Means(random.normal(size=(200, 9, 1)), tuple(names), ("ndcg_at_10",))
        for num in wins:
            asked = {"of": names[1 : num + 1], "against": "a", "replicates": 200, "seed": seed}
            found = paired_differences(noise, "ndcg_at_10", **asked)
            wins[num] += max(difference.low for difference in found.values()) > 0
    assert max(wins.values()) <= 12, f"two-sided at 95 %: luck wins 5 times of 200, however many there are: {wins}"


def test_intervals_of_one_difference_are_percentiles_and_those_of_many_are_wider():
    random = np.random.default_rng(3)
    common = random.normal(size=(300, 1, 1))
    sample = Means(common + 0.3 * random.normal(size=(300, 4, 1)), tuple("abcd"), ("recall",))
    alone = paired_differences(sample, "recall", of=["b"], against="a", replicates=4000, seed=1)["b"]
    differences = sample.values[:, 1, 0] - sample.values[:, 0, 0]
    oracle = bootstrap((differences,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    assert (alone.low, alone.high) == (pytest.approx(oracle.low, abs=0.003), pytest.approx(oracle.high, abs=0.003))
    joint = paired_differences(sample, "recall", of=["b", "c", "d"], against="a", replicates=4000, seed=1)
    # Dunnett's two-sided factor for three comparisons with a control is 2.35 at 95 %, that of one comparison 1.96.
    for side in ("low", "high"):
        stretch = (getattr(joint["b"], side) - joint["b"].point) / (getattr(alone, side) - alone.point)
        assert stretch == pytest.approx(2.35 / 1.96, abs=0.06)
    assert intervals(Means(sample.values[:1], tuple("abcd"), ("recall",)), ["recall"], replicates=50, seed=1) == {}


def test_samples_come_from_frames(spark):
    rows = [(model, f"c{i}", i / 10 + (model == "b"), 1.0) for model in "ab" for i in range(40)]
    figures = spark.createDataFrame(rows, "model string, customer_id string, recall double, ndcg double").persist()
    means = sampled_means(figures, seed=3)
    assert (means.models, means.metrics, means.num_customers) == (("a", "b"), ("recall", "ndcg"), 40)
    assert means.values[:, 1, 0] - means.values[:, 0, 0] == pytest.approx(np.ones(40)), "rows are the same customers"
    assert sorted(means.values[:, 0, 0]) == pytest.approx(np.arange(40) / 10)
    some, others = sampled_means(figures, seed=3, most=10), sampled_means(figures, seed=4, most=10)
    assert some.num_customers == 10
    assert list(some.values[:, 0, 0]) == list(means.values[:10, 0, 0]), "the first by hash"
    assert list(some.values[:, 0, 0]) != list(others.values[:, 0, 0])
    missing = figures.where("NOT (model = 'b' AND customer_id = 'c7')")
    with pytest.raises(ModelError, match=r"a and b were not tested on the same customers, 40 and 39 of the sample"):
        sampled_means(missing, seed=3)
    with pytest.raises(ModelError, match="no customer was tested"):
        sampled_labels(figures.where("false").selectExpr("*", "ndcg AS score", "true AS is_positive"), seed=3)
