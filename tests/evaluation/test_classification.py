import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from clm_spark.evaluation.classification import classification_metrics, score_deciles


@pytest.fixture(scope="module")
def scored(spark):
    """A good model, one with ties all over, one that is no probability; 200 customers, a fifth positive."""
    random = np.random.default_rng(3)
    happened = random.random(200) < 0.2
    good = np.clip(0.2 + 0.3 * happened + random.normal(0, 0.15, 200), 0, 1)
    scores = {"good": good, "tied": good.round(1), "rule": 100 * random.random(200).round(2)}
    rows = [(m, f"c{i}", float(x), bool(happened[i])) for m, xs in scores.items() for i, x in enumerate(xs)]
    frame = spark.createDataFrame(rows, "model string, customer_id string, score double, is_positive boolean")
    return happened, scores, frame


def test_metrics_agree_with_scikit_learn(scored):
    happened, scores, frame = scored
    found = {(r.model, r.metric): r.value for r in classification_metrics(frame).collect()}
    for model, values in scores.items():
        assert found[model, "auc"] == pytest.approx(roc_auc_score(happened, values))
        assert found[model, "average_precision"] == pytest.approx(average_precision_score(happened, values))
    share = happened.mean()
    expected = 1 - brier_score_loss(happened, scores["good"]) / (share * (1 - share))
    assert found["good", "brier_skill"] == pytest.approx(expected)
    assert ("rule", "brier_skill") not in found, "no probability, no calibration"


def test_deciles_hold_a_tenth_each_and_their_lift(scored):
    happened, scores, frame = scored
    deciles = sorted(score_deciles(frame.where("model = 'good'")).collect(), key=lambda r: r.decile)
    best_first = np.argsort(-scores["good"], kind="stable").reshape(10, 20)
    assert [d.num_customers for d in deciles] == [20] * 10
    assert [d.observed_share for d in deciles] == pytest.approx(happened[best_first].mean(axis=1))
    assert [d.mean_probability for d in deciles] == pytest.approx(scores["good"][best_first].mean(axis=1))
    assert deciles[0].lift == pytest.approx(happened[best_first[0]].mean() / happened.mean())
