"""BG/NBD against published figures, numerical integration, finite differences and simulated customers."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import real_data
from scipy.integrate import quad
from scipy.special import betaln
from scipy.stats import beta
from simulated import TRUE, simulate

from clm_spark.models.value.bg_nbd import (
    BgNbd,
    chance_of_orders,
    expected_if_alive,
    expected_orders,
    log_likelihood_terms,
    probability_alive,
)
from clm_spark.models.value.fit import fit_by_likelihood, total_of_arrays


def fitted(repeats, last, age):
    def terms(parameters, columns):
        return log_likelihood_terms(BgNbd(*parameters), *columns)

    total = total_of_arrays([repeats, last, age, np.ones(len(age))], terms)
    return fit_by_likelihood(total, np.array([1.0, age.mean(), 1.0, 1.0]), num_customers=len(age))


def cdnow():
    file = real_data("cdnow") / "cdnow_customers_summary_with_transactions.csv"
    return np.loadtxt(file, delimiter=",", skiprows=1).T[1:]


def test_cdnow_gives_the_published_parameters_and_likelihood():
    repeats, last, age, _ = cdnow()
    found = fitted(repeats, last, age)
    assert found.parameters == pytest.approx([0.24259, 4.41353, 0.79289, 2.42576], abs=1e-3)
    assert found.log_likelihood == pytest.approx(-9582.4256, abs=1e-3)
    # The first customer of the file, as in the authors' spreadsheet.
    law = BgNbd(*found.parameters)
    asked = (np.array([2.0, 0.0]), np.array([30.43, 0.0]), np.array([38.86, 38.86]))
    assert expected_orders(law, *asked, weeks=39)[0] == pytest.approx(1.226, abs=1e-3)
    assert probability_alive(law, *asked)[1] == 1


LAWS = [  # parameters, repeats, last, age, weeks ahead
    (BgNbd(0.24, 4.4, 0.79, 2.43), 2, 30.4, 38.9, 39),
    (BgNbd(0.24, 4.4, 0.79, 2.43), 0, 0, 38.9, 39),
    (BgNbd(0.8, 5.0, 1.0, 4.0), 5, 20, 22, 8),  # a = 1, where the formula divides by a - 1
    (BgNbd(0.8, 5.0, 1.0 + 1e-9, 4.0), 5, 20, 22, 8),
    (BgNbd(3.0, 2.0, 2.5, 1.5), 20, 30, 52, 104),
    (BgNbd(0.58, 7.47, 0.71, 2.26), 100, 9, 10, 260),  # scipy's 2F1 is infinite here, as published
    (BgNbd(5.0, 3.0, 1.5, 30.0), 60, 50, 52, 52),
    (
        BgNbd(1.49, 2.46, 1.11, 19.16),
        40,
        19,
        20,
        52,
    ),  # more weeks ahead than alpha and age: finite nonsense as published
    (BgNbd(1.49, 2.46, 1.11, 19.16), 25, 19, 20, 52),
    (BgNbd(1.49, 2.46, 1.11, 19.16), 30, 11, 12, 52),
    (BgNbd(350.0, 16.0, 400.0, 9000.0), 700, 250, 252, 210),  # no 2F1 is finite
]


@pytest.mark.parametrize("case", LAWS)
def test_expected_orders_are_the_integral_over_what_is_unknown(case):
    law, repeats, _, age, weeks = case
    shape, rate = law.r + repeats, law.alpha + age

    def over_rates(chance):  # (1 - E exp(-lambda p t)) / p, the mean of a process that stops with chance p
        return -np.expm1(shape * np.log(rate / (rate + chance * weeks))) / chance

    leave = beta(law.a, law.b + repeats)
    points = leave.ppf([0.001, 0.05, 0.3, 0.7, 0.95, 0.999])
    cuts = [0.0, *points, 1.0]
    pieces = [quad(lambda p: leave.pdf(p) * over_rates(p), low, high, epsabs=1e-12, epsrel=1e-9, limit=200)[0]
              for low, high in pairwise(cuts[1:])]  # fmt: skip
    if law.a > 2:
        near = quad(lambda p: leave.pdf(p) * over_rates(p), 1e-12, cuts[1], epsabs=0, epsrel=1e-9, limit=200)[0]
    else:  # near zero the density may be infinite: with u = p^a it is not
        near = quad(lambda u: over_rates(max(u ** (1 / law.a), 1e-300)) * (1 - u ** (1 / law.a)) ** (law.b + repeats - 1),
                    0, cuts[1] ** law.a, epsabs=0, epsrel=1e-9, limit=200)[0]  # fmt: skip
        near /= law.a * np.exp(betaln(law.a, law.b + repeats))
    found = expected_if_alive(law, np.array([float(repeats)]), np.array([float(age)]), weeks=weeks)[0]
    assert found == pytest.approx(near + sum(pieces), rel=2e-5)
    at_least = np.arange(1.0, 6000.0)
    chances = chance_of_orders(law, np.array([float(repeats)]), np.array([float(age)]), at_least=at_least, weeks=weeks)
    assert chances.sum() == pytest.approx(found, rel=2e-5), "the mean is the sum of the chances"


def test_the_gradient_is_that_of_the_likelihood():
    customers = simulate(50, seed=1, weeks_ahead=8)
    histories = (customers.repeats, customers.last, customers.age)
    at = np.array([0.6, 7.0, 1.3, 2.2])
    _, gradient = log_likelihood_terms(BgNbd(*at), *histories)
    for place in range(4):
        step = np.zeros(4)
        step[place] = 1e-6
        up, down = (log_likelihood_terms(BgNbd(*(at + s)), *histories)[0] for s in (step, -step))
        assert gradient[place] == pytest.approx((up - down) / 2e-6, abs=1e-6)


def test_simulated_customers_do_what_their_law_says():
    customers = simulate(60_000, seed=2, weeks_ahead=26)
    asked = (customers.repeats, customers.last, customers.age)
    said = expected_orders(TRUE, *asked, weeks=26)
    alive = probability_alive(TRUE, *asked)
    for group in (customers.repeats == 0, customers.repeats == 1, customers.repeats > 4, alive < 0.3, alive > 0.9):
        off = customers.num_ahead[group] - said[group]
        assert abs(off.mean()) <= 4 * off.std() / np.sqrt(group.sum())
        gone = customers.is_alive[group] - alive[group]
        assert abs(gone.mean()) <= 4 * gone.std() / np.sqrt(group.sum())
    chances = chance_of_orders(TRUE, customers.repeats, customers.age, at_least=np.array([1.0, 3.0]), weeks=26)
    for at_least, chance in zip((1, 3), (chances * alive[:, None]).T, strict=True):
        off = (customers.num_ahead >= at_least) - chance
        assert abs(off.mean()) <= 4 * off.std() / np.sqrt(len(off))


def test_true_parameters_lie_within_their_intervals():
    inside = []
    for seed in range(20):
        customers = simulate(1500, seed=seed, weeks_ahead=1)
        found = fitted(customers.repeats, customers.last, customers.age)
        off = np.log(found.parameters) - np.log([TRUE.r, TRUE.alpha, TRUE.a, TRUE.b])
        inside.append(np.abs(off) <= 1.96 * np.sqrt(np.diag(found.covariance)))
    assert 0.88 <= np.mean(inside) <= 1.0, "95 % intervals of four parameters in 20 shops"


def test_cdnow_orders_of_the_holdout_are_expected_as_published():
    repeats, last, age, _ = cdnow()
    law = BgNbd(*fitted(repeats, last, age).parameters)
    days = np.loadtxt(real_data("cdnow") / "CDNOW_sample.txt", usecols=(1, 2), dtype=int)
    ahead = np.unique(days[days[:, 1] > 19970930], axis=0)  # 39 weeks; a day is a purchase
    came = np.bincount(ahead[:, 0], minlength=len(age) + 1)[1:]
    expected = expected_orders(law, repeats, last, age, weeks=39)
    of_repeats = [(expected[group].mean(), came[group].mean()) for n in range(4) for group in [repeats == n]]
    # Fader, Hardie and Lee (2005), figure 5, read to two digits.
    assert np.ravel(of_repeats) == pytest.approx([0.23, 0.24, 0.52, 0.70, 1.04, 1.39, 1.52, 1.56], abs=0.01)
    assert expected.sum() / came.sum() == pytest.approx(0.879, abs=0.005), "busier than the trend"
