from datetime import date

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import betaln, gammaln

from clm_spark.demo.parameters import Shop, ShopParameters
from clm_spark.demo.people import campaigns_of, people_of
from clm_spark.demo.seasons import seasons_of
from clm_spark.demo.visits import visits_of

# Everybody joins by buying, no seasons, no campaigns: orders are a BG/NBD process and nothing else.
PLAIN = ShopParameters(
    joined_before_share=0,
    first_visit_buy_share=1,
    treated_share=0,
    weekday_weights=(1,) * 7,
    hour_weights=(1,) * 24,
    yearly_swing=0,
    visits_per_day=0.5,
    buy_share=0.2,
)


def orders_of(shop: Shop) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Repeat orders, days from the first to the last order, days observed: one position per customer."""
    seasons, campaigns = seasons_of(shop), campaigns_of(shop)
    parts = []
    for block in range(shop.num_blocks):
        people = people_of(shop, seasons, block)
        visits = visits_of(people, campaigns, seasons, shop=shop, block=block)
        last = np.zeros(len(people.number))
        np.maximum.at(last, visits.customer[visits.buys], visits.from_day[visits.buys])
        repeats = np.bincount(visits.customer[visits.buys], minlength=len(last)) - 1
        parts.append((repeats, last - people.joined_day, shop.days - people.joined_day))
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


def minus_log_likelihood(logs, x, t_x, t):
    """Fader, Hardie, Lee 2005, equation 6, per customer."""
    r, alpha, a, b = np.exp(logs)
    shared = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + t)
    left = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + t_x)
    return -np.mean(shared + np.where(x > 0, np.logaddexp(alive, left), alive))


def test_orders_give_back_the_laws_they_were_drawn_from():
    shop = Shop(customers=20_000, days=200, start_on=date(2024, 1, 1), seed=5, parameters=PLAIN)
    fit = minimize(minus_log_likelihood, np.zeros(4), args=orders_of(shop), method="L-BFGS-B")
    true_alpha = PLAIN.visit_rate_shape / (PLAIN.visits_per_day * PLAIN.buy_share)
    expected = [PLAIN.visit_rate_shape, true_alpha, PLAIN.dropout_a, PLAIN.dropout_b]
    assert np.exp(fit.x) == pytest.approx(expected, rel=0.1)
