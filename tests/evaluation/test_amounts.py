import numpy as np
import pytest

from clm_spark.evaluation.amounts import METRICS, ScoredAmounts, amount_deciles, amount_metrics, sampled_amounts

COLUMNS = "model string, customer_id string, predicted double, came double, low double, high double"


def drawn(num):
    """What came, half of it nothing, and four models: right, a constant mean, the right order at half the level, noisy."""
    draws = np.random.default_rng(1)
    came = np.where(draws.random(num) < 0.5, 0.0, np.ceil(draws.lognormal(7, 1.2, num)))
    models = {
        "right": came,
        "constant": np.full(num, came.mean()),
        "half": came / 2,
        "noisy": np.maximum(came * draws.lognormal(0, 1, num) + draws.normal(0, 300, num), 0),
    }
    return came, models


def rows_of(came, models):
    return [
        (
            name, f"c{place:04d}", float(predicted[place]), float(came[place]),
            *((0.0, float(2 * predicted[place])) if name == "noisy" else (None, None)),
        )
        for name, predicted in models.items()
        for place in range(len(came))
    ]  # fmt: skip


def gini(came, order):
    """As Frees, Meyers and Cummings draw it: the area between the diagonal and the curve of what came."""
    curve = np.append(0, np.cumsum(came[order])) / came.sum()
    return np.trapezoid(curve, np.linspace(0, 1, len(curve))) - 0.5


def test_figures_are_those_worked_out_by_their_definitions_and_the_sample_has_the_same(spark):
    came, models = drawn(500)
    predicted = spark.createDataFrame(rows_of(came, models), COLUMNS).persist()
    found = {(row.model, row.metric): row.value for row in amount_metrics(predicted).collect()}
    assert {row.num_tested for row in amount_metrics(predicted).collect()} == {500}
    assert all(found["right", name] == pytest.approx(1) for name in METRICS[:-1])
    assert found["constant", "squared_skill"] == pytest.approx(0, abs=1e-12)
    assert found["constant", "absolute_skill"] == pytest.approx(0, abs=1e-9)
    assert abs(found["constant", "normalised_gini"]) < 0.15, "ties stand in no order that helps"
    assert found["half", "normalised_gini"] == pytest.approx(1)
    assert found["half", "decile_calibration"] == pytest.approx(0.5)
    noisy = models["noisy"]
    skill = 1 - ((noisy - came) ** 2).sum() / ((came - came.mean()) ** 2).sum()
    assert found["noisy", "squared_skill"] == pytest.approx(skill, abs=1e-9)
    skill = 1 - np.abs(noisy - came).sum() / np.abs(came - came.mean()).sum()
    assert found["noisy", "absolute_skill"] == pytest.approx(skill, abs=1e-9)
    # Zeros of the prediction tie: there the area is that of one order among many.
    expected = gini(came, np.argsort(-noisy, kind="stable")) / gini(came, np.argsort(-came, kind="stable"))
    assert found["noisy", "normalised_gini"] == pytest.approx(expected, abs=0.01)
    assert found["noisy", "interval_coverage"] == pytest.approx(np.mean(came <= 2 * noisy))
    assert ("half", "interval_coverage") not in found

    sample = sampled_amounts(predicted, seed=1)
    once = sample.figures(sample.models, METRICS, np.ones(500))
    for place, model in enumerate(sample.models):
        for at, metric in enumerate(METRICS):
            if (model, metric) in found:
                assert once[place, at] == pytest.approx(found[model, metric], abs=1e-9), (model, metric)
            else:
                assert np.isnan(once[place, at])

    deciles = amount_deciles(predicted.where("model = 'right'")).orderBy("decile").collect()
    highest = np.sort(came)[::-1][:50].mean()
    assert deciles[0].mean_value == pytest.approx(deciles[0].mean_observed) == pytest.approx(highest)
    assert deciles[0].lift == pytest.approx(highest / came.mean())


def test_a_customer_drawn_twice_counts_as_two():
    def sample_of(came, predicted):
        orders = [np.argsort(-each, kind="stable") for each in (predicted, came)]
        return ScoredAmounts(("a",), predicted[None], came, np.ones((1, len(came))), orders[0][None], orders[1])

    came, models = drawn(60)
    once = sample_of(came, models["noisy"] + np.arange(60) * 1e-6)
    counts = np.random.default_rng(2).multinomial(60, np.full(60, 1 / 60)).astype(float)
    copies = np.repeat(np.arange(60), counts.astype(int))
    twice = sample_of(came[copies], (models["noisy"] + np.arange(60) * 1e-6)[copies])
    drawn_figures = once.figures(["a"], METRICS, counts)
    assert drawn_figures == pytest.approx(twice.figures(["a"], METRICS, np.ones(60)), abs=1e-12)
