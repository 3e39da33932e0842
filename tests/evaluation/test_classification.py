import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from clm_spark.evaluation.bootstrap import intervals
from clm_spark.evaluation.classification import classification_metrics, score_deciles
from clm_spark.evaluation.curves import METRICS
from clm_spark.evaluation.samples import sampled_labels

NUM = 997


@pytest.fixture(scope="module")
def scored(spark):
    """A good model, ones with ties, one that is no probability, one that says nothing; a fifth positive."""
    random = np.random.default_rng(3)
    happened = random.random(NUM) < 0.2
    good = np.clip(0.2 + 0.3 * happened + random.normal(0, 0.15, NUM), 0, 1)
    scores = {
        "good": good,
        "tied": good.round(1),
        "half zero": np.where(random.random(NUM) < 0.5, 0, good),
        "rule": 100 * random.normal(size=NUM).round(2),
        "constant": np.full(NUM, 0.25),
    }
    rows = [(m, f"c{i}", float(x), bool(happened[i])) for m, xs in scores.items() for i, x in enumerate(xs)]
    rows += [("one kind", f"c{i}", i / NUM, True) for i in range(NUM)]
    frame = spark.createDataFrame(rows, "model string, customer_id string, score double, is_positive boolean")
    yield happened, scores, frame.persist()
    frame.unpersist()


def test_metrics_agree_with_scikit_learn_and_with_the_sample_in_memory(scored):
    happened, scores, frame = scored
    found = {(r.model, r.metric): r.value for r in classification_metrics(frame).collect()}
    share = happened.mean()
    for model, values in scores.items():
        assert found[model, "auc"] == pytest.approx(roc_auc_score(happened, values), abs=1e-12)
        assert found[model, "average_precision"] == pytest.approx(average_precision_score(happened, values), abs=1e-12)
        if model != "rule":
            expected = 1 - brier_score_loss(happened, values) / (share * (1 - share))
            assert found[model, "brier_skill"] == pytest.approx(expected, abs=1e-12)
    assert ("rule", "brier_skill") not in found, "no probability, no calibration"
    assert ("one kind", "auc") not in found

    sample = sampled_labels(frame.where("model <> 'one kind'"), seed=1)
    assert sample.num_customers == NUM
    in_memory = sample.figures(sample.models, METRICS, np.ones(NUM))
    for model, figures in zip(sample.models, in_memory, strict=True):
        expected = [found.get((model, metric), float("nan")) for metric in METRICS]
        assert figures == pytest.approx(expected, abs=1e-12, nan_ok=True), model
    part = sampled_labels(frame.where("model <> 'one kind'"), seed=1, most=100)
    assert part.num_customers == 100
    assert ("rule", "brier_skill") not in intervals(part, METRICS, replicates=2, seed=1)


def test_deciles_hold_a_tenth_each_and_their_lift(scored):
    happened, scores, frame = scored
    deciles = sorted(score_deciles(frame.where("model = 'good'")).collect(), key=lambda r: r.decile)
    best_first = np.argsort(-scores["good"], kind="stable")
    tenths = [best_first[np.arange(NUM) * 10 // NUM == tenth] for tenth in range(10)]
    assert [d.num_customers for d in deciles] == [len(tenth) for tenth in tenths]
    assert [d.observed_share for d in deciles] == pytest.approx([happened[tenth].mean() for tenth in tenths])
    assert [d.mean_probability for d in deciles] == pytest.approx([scores["good"][tenth].mean() for tenth in tenths])
    assert deciles[0].lift == pytest.approx(happened[tenths[0]].mean() / happened.mean())
