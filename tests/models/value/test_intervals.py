"""Intervals hold what they are said to hold, in shops whose law is known and has to be estimated."""

import numpy as np
import pytest
from scipy.special import betaincc
from simulated import SPEND, TRUE, simulate

from clm_spark.models.value import bg_nbd, gamma_gamma
from clm_spark.models.value.bg_nbd import (
    BgNbd,
    chance_of_orders,
    expected_if_alive,
    expected_orders,
    probability_alive,
    probability_alive_slopes,
)
from clm_spark.models.value.estimates import ExpectedOrders, Histories, discounted_if_alive, estimates, standard_errors
from clm_spark.models.value.fit import fit_by_likelihood, total_of_arrays
from clm_spark.models.value.gamma_gamma import GammaGamma, expected_order
from clm_spark.models.value.law import Law
from clm_spark.models.value.predictive import amount_bounds
from clm_spark.models.value.settings import ValueSettings

WEEKS = 8.0
SETTINGS = ValueSettings(horizon_days=56)


def law_of(customers):
    """Fitted as `law.fit_law` does, without Spark."""
    ones, again = np.ones(len(customers.age)), customers.repeats > 0
    histories = [customers.repeats, customers.last, customers.age, ones]
    of_orders = total_of_arrays(histories, lambda p, c: bg_nbd.log_likelihood_terms(BgNbd(*p), *c))
    orders = fit_by_likelihood(of_orders, np.array([1, customers.age.mean(), 1, 1]), num_customers=len(ones))
    spends = [customers.repeats[again] + 1, customers.mean[again], ones[again]]
    of_spend = total_of_arrays(spends, lambda p, c: gamma_gamma.log_likelihood_terms(GammaGamma(*p), *c))
    spend = fit_by_likelihood(of_spend, np.array([1, 2, spends[1].mean()]), num_customers=int(again.sum()))
    return Law(
        BgNbd(*orders.parameters), orders.covariance, 0.0, GammaGamma(*spend.parameters), spend.covariance,
        mean_order_cents=float(customers.mean.mean()), net_share=1.0, retention=0.5, num_customers=len(ones),
        num_repeat_customers=int(again.sum()),
    )  # fmt: skip


def asked(customers):
    return Histories(customers.repeats, customers.last, customers.age, customers.repeats + 1, customers.mean)


TRUE_LAW = Law(TRUE, np.zeros((4, 4)), 0.0, SPEND, np.zeros((3, 3)), 0.0, 1.0, 0.5, 0, 0)


@pytest.mark.parametrize(("size", "shops"), [(150, 20), (1500, 3)])
def test_what_comes_lies_within_its_interval_as_often_as_said(size, shops):
    inside, value, came = [], 0.0, 0.0
    for seed in range(shops):
        customers = simulate(size, seed=seed, weeks_ahead=WEEKS)
        found = estimates(law_of(customers), asked(customers), SETTINGS)
        inside += list((customers.cents_ahead >= found["value_low"]) & (customers.cents_ahead <= found["value_high"]))
        value, came = value + found["value"].sum(), came + customers.cents_ahead.sum()
        assert np.all((found["value_low"] <= found["value"]) & (found["value"] <= found["value_high"]))
    assert np.mean(inside) == pytest.approx(0.955, abs=0.02)
    assert value == pytest.approx(came, rel=0.15)


def test_the_true_expectation_lies_within_the_error_of_the_estimated_law():
    inside = []
    for seed in range(20):
        customers = simulate(1000, seed=100 + seed, weeks_ahead=WEEKS)
        law, histories = law_of(customers), (customers.repeats, customers.last, customers.age)
        found, true = (
            expected_orders(each.purchases, *histories, weeks=WEEKS)
            * expected_order(each.spend, customers.repeats + 1, customers.mean)
            for each in (law, TRUE_LAW)
        )
        ahead = ExpectedOrders.of(law, asked(customers), weeks=WEEKS)
        assert ahead.orders == pytest.approx(expected_orders(law.purchases, *histories, weeks=WEEKS), rel=1e-12)
        inside.append(np.abs(found - true) <= 1.96 * standard_errors(law, asked(customers), ahead))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035), "shops are few, and all customers of one are off together"


def test_bounds_are_those_of_drawn_customers():
    often = BgNbd(r=3.0, alpha=2.0, a=0.5, b=20.0)
    customers = simulate(20_000, seed=9, weeks_ahead=WEEKS, law=often, max_age_days=200)
    histories = (customers.repeats, customers.last, customers.age)
    low, high = amount_bounds(often, SPEND, *histories, customers.repeats + 1, weeks=WEEKS)
    scale = SPEND.v + (customers.repeats + 1) * customers.mean
    regular = (low > 0) & (customers.repeats > 3)
    assert min(regular.sum(), (~regular).sum()) > 2000
    for group, below, above in ((regular, 0.025, 0.025), (low == 0, 0.0, 0.05)):
        num = group.sum()
        came = customers.cents_ahead[group] / scale[group]
        assert np.mean(came < low[group]) == pytest.approx(below, abs=4 * np.sqrt(0.025 / num))
        # Where nothing at all is so likely that the upper bound is 0, fewer lie beyond it.
        assert np.mean(came > high[group]) == pytest.approx(above, abs=4 * np.sqrt(0.05 / num) + 0.012)


LAWS = {  # of purchases, and of amounts: p high, amounts of one customer hardly differ; q low, customers differ much
    "as simulated": (TRUE, SPEND),
    "often": (BgNbd(r=3.0, alpha=2.0, a=0.5, b=20.0), SPEND),
    "seldom": (BgNbd(r=0.2, alpha=15.0, a=0.8, b=2.4), GammaGamma(p=6.2, q=3.7, v=15.4)),
    "wild amounts": (TRUE, GammaGamma(p=0.4, q=1.2, v=800.0)),
    "like amounts": (TRUE, GammaGamma(p=80.0, q=3.0, v=40.0)),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("weeks", [8.0, 104.0])
def test_bounds_are_those_of_all_numbers_of_orders_added_up(law, weeks):
    orders, spend = LAWS[law]
    drawn = np.random.default_rng(1)
    repeats = np.append([0.0, 0.0, 1.0, 40.0, 200.0], drawn.integers(0, 12, 55))
    age = drawn.uniform(1, 100, 60)
    last = np.where(repeats > 0, age * drawn.uniform(0.3, 1, 60), 0.0)
    known = repeats + drawn.integers(0, 2, 60)  # the mean is known with or without the first order
    low, high = amount_bounds(orders, spend, repeats, last, age, known, weeks=weeks)
    at_least = np.arange(1.0, 4000.0)
    chances = chance_of_orders(orders, repeats, age, at_least=at_least, weeks=weeks)
    chances *= probability_alive(orders, repeats, last, age)[:, None]
    each = chances - np.append(chances[:, 1:], np.zeros((60, 1)), axis=1)
    rest = spend.q + spend.p * known

    def beyond(bound):
        with np.errstate(under="ignore"):
            return np.sum(each * betaincc(spend.p * at_least, rest[:, None], (bound / (1 + bound))[:, None]), axis=1)

    some = chances[:, 0]
    is_two_sided = some > 0.975
    assert np.all((low > 0) == is_two_sided)
    assert np.all((high > 0) == (some > np.where(is_two_sided, 0.025, 0.05)))
    # A percent more or less of the bound has the chance asked for between them.
    for bound, chance in ((low, np.full(60, 0.975)), (high, np.where(is_two_sided, 0.025, 0.05))):
        given = bound > 0
        assert np.all(beyond(bound * 1.01)[given] <= chance[given] + 1e-12)
        assert np.all(beyond(bound / 1.01)[given] >= chance[given] - 1e-12)
    assert given.sum() > 20


def test_slopes_of_the_chance_to_be_there_are_its_differences():
    customers = simulate(300, seed=6, weeks_ahead=1)
    histories, at = (customers.repeats, customers.last, customers.age), np.array([TRUE.r, TRUE.alpha, TRUE.a, TRUE.b])
    steps = np.exp(1e-5 * np.eye(4))
    moved = [[probability_alive(BgNbd(*place), *histories) for place in (at * step, at / step)] for step in steps]
    differences = np.stack([(more - less) / 2e-5 for more, less in moved])
    assert probability_alive_slopes(TRUE, *histories) == pytest.approx(differences, abs=1e-8)


def test_lifetime_value_adds_up_discounted_orders():
    customers = simulate(200, seed=4, weeks_ahead=1)
    histories = asked(customers)
    settings = ValueSettings(lifetime_days=364, margin=0.4, annual_discount_rate=0.2)
    found = estimates(TRUE_LAW, histories, settings)
    weeks = np.arange(0, 52.0 + 1e-9, 1 / 7)
    until = np.stack(
        [expected_orders(TRUE, customers.repeats, customers.last, customers.age, weeks=w) for w in weeks[1:]]
    )
    each_day = np.diff(until, prepend=0, axis=0)
    middle = (weeks[1:] + weeks[:-1]) / 2
    worth = each_day.T @ (1.2 ** -(middle * 7 / 365.25))
    exact = 0.4 * worth * expected_order(SPEND, customers.repeats + 1, customers.mean)
    assert found["lifetime_value"] == pytest.approx(exact, rel=2e-3), "periods of four weeks stand for days"
    pairs = customers.repeats, customers.age
    undiscounted = discounted_if_alive(TRUE, *pairs, weeks=52.0, rate=0.0)
    assert undiscounted == pytest.approx(expected_if_alive(TRUE, *pairs, weeks=52.0))


def test_customers_who_all_pay_the_same_are_told_so():
    customers = simulate(300, seed=5, weeks_ahead=WEEKS)
    same = np.full(300, 1990.0)
    law = law_of(type(customers)(**{**vars(customers), "mean": same}))
    histories = Histories(customers.repeats, customers.last, customers.age, customers.repeats + 1, same)
    found = estimates(law, histories, SETTINGS)
    assert found["expected_order_cents"] == pytest.approx(same, rel=1e-2)
    assert np.all(np.isfinite(found["value_high"]))
