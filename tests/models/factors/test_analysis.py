import numpy as np
import pytest

from clm_spark.models.factors.analysis import (
    Factors,
    fit_factors,
    in_words,
    num_factors_by_parallel_analysis,
    numbered_as,
)
from clm_spark.settings import FactorSettings

SETTINGS = FactorSettings()
NAMES = [f"h{number}" for number in range(12)]
PLANTED = np.zeros((3, 12))
PLANTED[0, :5] = 0.8
PLANTED[1, 4:9] = [0.5, 0.8, 0.8, -0.7, 0.7]
PLANTED[2, 9:] = 0.75


def customers_of(loadings, num_customers=4000, seed=4):
    """Factors drawn at random, habits that load on them, and noise to a variance of 1."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(num_customers, len(loadings)))
    noise = random.normal(size=(num_customers, loadings.shape[1])) * np.sqrt(1 - (loadings**2).sum(axis=0))
    return factors, factors @ loadings + noise


def test_planted_loadings_are_recovered_and_scores_follow_the_factors():
    factors, habits = customers_of(PLANTED)
    found = fit_factors(habits * 3 + 5, NAMES, settings=SETTINGS)
    assert found.numbers == (1, 2, 3)
    assert found.features == tuple(NAMES)
    assert np.abs(found.loadings - PLANTED).max() < 0.08
    scores = (habits * 3 + 5 - found.mean) / found.deviation @ found.weights.T
    agreement = np.corrcoef(scores.T, factors.T)[:3, 3:]
    assert (np.diag(agreement) > 0.85).all()
    assert np.abs(agreement - np.diag(np.diag(agreement))).max() < 0.15


def test_scores_are_those_of_scikit_learn():
    from sklearn.decomposition import FactorAnalysis

    habits = customers_of(PLANTED, 500)[1]
    found = fit_factors(habits, NAMES, settings=SETTINGS)
    points = (habits - habits.mean(axis=0)) / habits.std(axis=0)
    oracle = FactorAnalysis(3, rotation="varimax", svd_method="lapack", max_iter=2000).fit(points)
    theirs, ours = oracle.transform(points), points @ found.weights.T
    matched = np.abs(np.corrcoef(ours.T, theirs.T)[:3, 3:])
    assert matched.max(axis=1) == pytest.approx(np.ones(3))
    assert np.sort(ours.std(axis=0)) == pytest.approx(np.sort(theirs.std(axis=0)))


def test_parallel_analysis_counts_planted_factors_and_finds_none_in_noise():
    counted = {
        num: num_factors_by_parallel_analysis(customers_of(PLANTED[:num])[1], settings=SETTINGS) for num in (1, 2, 3)
    }
    assert counted == {1: 1, 2: 2, 3: 3}
    noise = np.random.default_rng(8).normal(size=(800, 12))
    assert num_factors_by_parallel_analysis(noise, settings=SETTINGS) == 1


def test_what_says_nothing_is_left_out():
    habits = customers_of(PLANTED)[1]
    habits[:, 2] = 7.0
    twins = np.column_stack([habits, habits[:, 0] * 2 + 1])
    twins[::3, 1] = np.nan
    found = fit_factors(twins, [*NAMES, "twin"], settings=SETTINGS)
    assert found.features == tuple(name for name in NAMES if name != "h2")
    assert found.mean[1] == pytest.approx(np.nanmean(twins[:, 1]))
    assert np.isfinite(found.weights).all()
    too_little = {
        "few customers": habits[:99],
        "one customer": habits[:1],
        "customers alike": np.ones((500, 12)),
        "nothing known": np.full((500, 12), np.nan),
        "two habits": habits[:, :2],
    }
    assert {name for name, rows in too_little.items() if fit_factors(rows, NAMES, settings=SETTINGS)} == set()


def test_a_new_fit_takes_over_numbers_and_signs():
    first = fit_factors(customers_of(PLANTED)[1], NAMES, settings=SETTINGS)
    turned = PLANTED[[2, 0, 1]] * np.array([[1.0], [-1.0], [1.0]])
    before = Factors((4, 1, 7), first.features, turned, turned, first.mean, first.deviation)
    later = fit_factors(customers_of(PLANTED, seed=5)[1], NAMES, settings=SETTINGS)
    found = numbered_as(later, before, first_free=8, settings=SETTINGS)
    assert found.numbers == (1, 7, 4)
    assert np.allclose(found.loadings, later.loadings * [[-1], [1], [1]])
    assert np.allclose(found.weights, later.weights * [[-1], [1], [1]])
    only_last = Factors((9,), first.features, PLANTED[2:], PLANTED[2:], first.mean, first.deviation)
    found = numbered_as(later, only_last, first_free=12, settings=SETTINGS)
    assert found.numbers == (12, 13, 9), "what is new gets a number that none ever had"


def test_a_factor_is_told_by_the_habits_it_loads_on_most():
    words = {"a": "more orders", "b": "a longer silence", "c": "more visits", "d": "nights"}
    assert (
        in_words({"a": 0.7, "b": -0.9, "c": 0.5, "d": 0.1}, words) == "not a longer silence, more orders, more visits"
    )
    assert in_words({"a": 0.2, "b": 0.1}, words) == "more orders"
