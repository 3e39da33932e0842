import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, log_loss, roc_auc_score

from clm_spark.evaluation.bootstrap import intervals
from clm_spark.evaluation.classification import classification_metrics, score_deciles
from clm_spark.evaluation.curves import METRICS, OFFER_METRICS
from clm_spark.evaluation.offers import OUTCOMES, Offer
from clm_spark.evaluation.samples import sampled_labels

NUM = 997
OFFER = Offer(cost_cents=100, margin_cents=2000, response_share=0.2)  # pays from .25 on


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
    found = {(r.model, r.metric): r.value for r in classification_metrics(frame, offer=OFFER).collect()}
    share = happened.mean()
    for model, values in scores.items():
        assert found[model, "auc"] == pytest.approx(roc_auc_score(happened, values), abs=1e-12)
        assert found[model, "average_precision"] == pytest.approx(average_precision_score(happened, values), abs=1e-12)
        if model != "rule":
            expected = 1 - brier_score_loss(happened, values) / (share * (1 - share))
            assert found[model, "brier_skill"] == pytest.approx(expected, abs=1e-12)
            assert found[model, "brier"] == pytest.approx(brier_score_loss(happened, values), abs=1e-12)
            assert found[model, "log_loss"] == pytest.approx(log_loss(happened, values), abs=1e-9)
            matrix = confusion_matrix(happened, values >= 0.25, labels=[True, False], normalize="all").ravel()
            hits, misses, alarms, rest = matrix
            assert [found[model, name] for name in OUTCOMES] == pytest.approx([hits, alarms, misses, rest])
            assert found[model, "offer_value_cents"] == pytest.approx(400 * hits - 100 * (hits + alarms))
    assert ("rule", "brier_skill") not in found, "no probability, no calibration"
    assert {metric for model, metric in found if model == "one kind"} == {"average_precision", "lift_at_top_decile"}

    sample = sampled_labels(frame.where("model <> 'one kind'"), seed=1, offer=OFFER)
    assert sample.num_customers == NUM
    metrics = (*METRICS, *OFFER_METRICS)
    in_memory = sample.figures(sample.models, metrics, np.ones(NUM))
    for model, figures in zip(sample.models, in_memory, strict=True):
        expected = [found.get((model, metric), float("nan")) for metric in metrics]
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
    (gain,) = (
        row.value
        for row in classification_metrics(frame.where("model = 'good'")).collect()
        if row.metric == "gain_at_top_decile"
    )
    assert gain == pytest.approx(happened[tenths[0]].sum() / happened.sum())


def test_the_calibration_error_is_the_mean_gap_of_the_tenths(scored):
    happened, scores, frame = scored
    found = {r.model: r.value for r in classification_metrics(frame).where("metric = 'calibration_error'").collect()}
    best_first = np.argsort(-scores["good"], kind="stable")
    of_tenth = np.arange(NUM) * 10 // NUM
    gaps = [abs((scores["good"] - happened)[best_first[of_tenth == tenth]].sum()) for tenth in range(10)]
    assert found["good"] == pytest.approx(sum(gaps) / NUM)
    assert found["constant"] > abs(0.25 - happened.mean()) - 1e-12


def test_the_threshold_of_an_offer_is_worth_most_where_probabilities_are_right():
    random = np.random.default_rng(5)
    chances = random.random(200_000)
    happened = random.random(200_000) < chances

    def worth(threshold):
        offered = chances >= threshold
        return OFFER.value_cents((offered & happened).mean(), (offered & ~happened).mean())

    assert OFFER.threshold == pytest.approx(0.25)
    assert max(np.arange(0, 1.01, 0.05), key=worth) == pytest.approx(0.25)
    assert Offer(1, 0, 0.5).threshold == float("inf"), "what brings nothing is offered to nobody"
