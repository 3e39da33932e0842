"""Pareto/NBD against published figures, numerical integration, finite differences and simulated customers."""

import numpy as np
import pytest
from conftest import real_data
from scipy.integrate import quad
from scipy.special import gammaln

from clm_spark.models.value.fit import fit_by_likelihood, total_of_arrays
from clm_spark.models.value.pareto_nbd import ParetoNbd, expected_orders, log_likelihood_terms, probability_alive

TRUE = ParetoNbd(r=0.8, alpha=5.0, s=0.7, beta=9.0)


def fitted(repeats, last, age):
    def terms(parameters, columns):
        return log_likelihood_terms(ParetoNbd(*parameters), *columns)

    total = total_of_arrays([repeats, last, age, np.ones(len(age))], terms)
    return fit_by_likelihood(total, np.array([1.0, 10.0, 1.0, 10.0]), num_customers=len(age))


def drawn_customers(num, *, seed, weeks_ahead, law=TRUE):
    """Histories of `num` customers of the law, whether each is still there, and orders in the weeks after."""
    drawn = np.random.default_rng(seed)
    age = drawn.integers(1, 420, num) / 7
    rate, stays = drawn.gamma(law.r, 1 / law.alpha, num), drawn.exponential(1 / drawn.gamma(law.s, 1 / law.beta, num))
    at, (repeats, last, ahead) = np.zeros(num), np.zeros((3, num))
    while True:
        at = at + drawn.exponential(1 / rate)
        is_order = (at <= stays) & (at <= age + weeks_ahead)
        if not is_order.any():
            return repeats, last, age, stays > age, ahead
        is_past = is_order & (at <= age)
        repeats, last, ahead = repeats + is_past, np.where(is_past, at, last), ahead + (is_order & ~is_past)


def test_cdnow_gives_the_published_parameters_and_likelihood():
    file = real_data("cdnow") / "cdnow_customers_summary_with_transactions.csv"
    repeats, last, age, _ = np.loadtxt(file, delimiter=",", skiprows=1).T[1:]
    found = fitted(repeats, last, age)
    # Fader, Hardie and Lee (2005), table 2, gives .553, 10.578, .606, 11.669 and -9595.0.
    assert found.parameters == pytest.approx([0.553, 10.578, 0.606, 11.669], abs=2e-3)
    assert found.log_likelihood == pytest.approx(-9595.0, abs=0.05)


HISTORIES = [  # parameters, repeats, last, age
    (ParetoNbd(0.55, 10.6, 0.61, 11.7), 2, 30.4, 38.9),
    (ParetoNbd(0.55, 10.6, 0.61, 11.7), 0, 0, 38.9),
    (ParetoNbd(0.55, 10.6, 1.0, 11.7), 1, 5, 38.9),  # s = 1, where the formula divides by s - 1
    (ParetoNbd(3.0, 2.0, 2.5, 1.5), 20, 30, 520),
    (ParetoNbd(0.4, 1.0, 0.2, 300.0), 300, 51, 52),
    (ParetoNbd(0.4, 1.0, 0.2, 0.01), 300, 2, 52),  # they left long ago, if ever one did
    (ParetoNbd(1.0, 5.0, 1.0, 5.0), 4, 20, 20),
    (ParetoNbd(0.55, 10.6, 0.3, 0.02), 0, 0, 100),  # most leave at once
    (ParetoNbd(0.55, 10.6, 0.3, 0.02), 3, 20, 100),
    (ParetoNbd(5.0, 0.05, 0.3, 40.0), 2, 0.1, 100),
]


@pytest.mark.parametrize("case", HISTORIES)
def test_likelihood_and_expected_orders_are_the_integrals_they_stand_for(case):
    law, *history = case
    repeats, last, age = map(float, history)
    shape = law.r + repeats

    def over(time, more):  # over its value at `last`, so that nothing underflows
        logs = -shape * np.log((law.alpha + time) / (law.alpha + last))
        return np.exp(logs - (law.s + more) * np.log((law.beta + time) / (law.beta + last)))

    left = law.s / (law.beta + last) * quad(over, last, age, args=(1,), epsabs=0, epsrel=1e-11, limit=500)[0]
    alive = over(age, 0) / (over(age, 0) + left)
    arrays = [np.array([value]) for value in (repeats, last, age)]
    assert probability_alive(law, *arrays)[0] == pytest.approx(alive, rel=1e-8)
    whole = (
        gammaln(shape) - gammaln(law.r) + law.r * np.log(law.alpha) + law.s * np.log(law.beta)
        - shape * np.log(law.alpha + last) - law.s * np.log(law.beta + last) + np.log(over(age, 0) + left)
    )  # fmt: skip
    assert log_likelihood_terms(law, *arrays)[0][0] == pytest.approx(whole, rel=1e-10)
    # The chance to be there still at some time ahead, times the rate, over the weeks.
    there = quad(lambda time: ((law.beta + age) / (law.beta + age + time)) ** law.s, 0, 26, epsrel=1e-11)[0]
    ahead = alive * shape / (law.alpha + age) * there
    assert expected_orders(law, *arrays, weeks=26)[0] == pytest.approx(ahead, rel=1e-8)


def test_the_gradient_is_that_of_the_likelihood():
    repeats, last, age, *_ = drawn_customers(60, seed=1, weeks_ahead=8)
    at = np.array([0.6, 7.0, 1.3, 12.0])
    _, gradient = log_likelihood_terms(ParetoNbd(*at), repeats, last, age)
    for place in range(4):
        step = np.zeros(4)
        step[place] = 1e-6
        up, down = (log_likelihood_terms(ParetoNbd(*(at + s)), repeats, last, age)[0] for s in (step, -step))
        assert gradient[place] == pytest.approx((up - down) / 2e-6, abs=1e-6)


def test_simulated_customers_do_what_their_law_says_and_it_is_found_again():
    repeats, last, age, is_alive, ahead = drawn_customers(60_000, seed=2, weeks_ahead=26)
    said = expected_orders(TRUE, repeats, last, age, weeks=26)
    alive = probability_alive(TRUE, repeats, last, age)
    for group in (repeats == 0, repeats == 1, repeats > 4, alive < 0.3, alive > 0.9):
        for off in (ahead[group] - said[group], is_alive[group] - alive[group]):
            assert abs(off.mean()) <= 4 * off.std() / np.sqrt(group.sum())
    few = slice(0, 4000)
    found = fitted(repeats[few], last[few], age[few])
    off = np.log(found.parameters) - np.log([TRUE.r, TRUE.alpha, TRUE.s, TRUE.beta])
    assert np.all(np.abs(off) < 3.5 * np.sqrt(np.diag(found.covariance)))
