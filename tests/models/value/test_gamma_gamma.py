"""Gamma-Gamma against published figures, finite differences and simulated customers."""

import numpy as np
import pytest
from conftest import real_data
from simulated import SPEND, simulate

from clm_spark.models.value.fit import fit_by_likelihood, total_of_arrays
from clm_spark.models.value.gamma_gamma import GammaGamma, expected_order, log_likelihood_terms


def fitted(orders, mean):
    def terms(parameters, columns):
        return log_likelihood_terms(GammaGamma(*parameters), *columns)

    total = total_of_arrays([orders, mean, np.ones(len(mean))], terms)
    return fit_by_likelihood(total, np.array([1.0, 2.0, mean.mean()]), num_customers=len(mean))


def test_cdnow_gives_the_published_parameters():
    file = real_data("cdnow") / "cdnow_customers_summary_with_transactions.csv"
    _, repeats, _, _, mean = np.loadtxt(file, delimiter=",", skiprows=1).T
    again = repeats > 0
    assert again.sum() == 946
    found = fitted(repeats[again], mean[again])
    assert found.parameters == pytest.approx([6.2488, 3.7446, 15.4477], abs=1e-3)
    # The note's example: one order of 22.35 or a mean of 36 are drawn towards the mean of all, 35.2.
    law = GammaGamma(*found.parameters)
    assert expected_order(law, np.array([0.0]), np.array([0.0]))[0] == pytest.approx(law.p * law.v / (law.q - 1))


def test_the_gradient_is_that_of_the_likelihood():
    customers = simulate(50, seed=1, weeks_ahead=8)
    at = np.array([2.0, 3.0, 900.0])
    _, gradient = log_likelihood_terms(GammaGamma(*at), customers.repeats + 1, customers.mean)
    for place, size in enumerate((1e-6, 1e-6, 1e-3)):
        step = np.zeros(3)
        step[place] = size
        up, down = (
            log_likelihood_terms(GammaGamma(*(at + s)), customers.repeats + 1, customers.mean)[0] for s in (step, -step)
        )
        assert gradient[place] == pytest.approx((up - down) / (2 * size), abs=1e-6)


def test_an_order_is_drawn_towards_the_mean_of_all_as_far_as_it_should():
    customers = simulate(60_000, seed=3, weeks_ahead=52)
    said = expected_order(SPEND, customers.repeats + 1, customers.mean)
    for group in (customers.repeats == 0, customers.repeats > 5, customers.mean < 1000, customers.mean > 4000):
        came = group & (customers.num_ahead > 0)
        off = customers.cents_ahead[came] - customers.num_ahead[came] * said[came]
        assert abs(off.mean()) < 4 * off.std() / np.sqrt(came.sum())
    found = fitted(customers.repeats + 1, customers.mean)
    off = np.log(found.parameters) - np.log([SPEND.p, SPEND.q, SPEND.v])
    assert np.all(np.abs(off) < 3 * np.sqrt(np.diag(found.covariance)))
