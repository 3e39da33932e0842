"""What a customer will bring, as a distribution: orders that may not come at all, each of an amount that differs.

Given n orders and the customer's past, their sum is `scale` times a beta prime (p n, q + p x), the scale being v + x zbar of
Gamma-Gamma; n has the chances of BG/NBD. So the bounds over the scale follow from the purchase history alone.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize.elementwise import find_root
from scipy.special import betainc

from clm_spark.models.value.bg_nbd import BgNbd, chance_of_orders, probability_alive
from clm_spark.models.value.gamma_gamma import GammaGamma

Floats = NDArray[np.float64]

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
GROWTH = 1.35  # of the numbers of orders that stand for those up to the next one
DEVIATIONS = 5.0  # of the number of orders: the rest counts as the last
FURTHEST = 40.0  # from zero, of the logarithm that is searched
EXACT = 2e-3  # of that logarithm: a fifth of a percent of the bound


def amount_bounds(
    law: BgNbd, spend: GammaGamma, repeats: Floats, last: Floats, age: Floats, orders: Floats, *, weeks: float
) -> tuple[Floats, Floats]:
    """The 95 % interval of what comes in the next `weeks`, over v + x zbar, for each history: lower and upper bounds.

    `orders` is x, the number of orders that the customer's mean is known from.

    2.5 % lie beyond either bound; where the chance of nothing is more than that, the lower bound is 0 and 5 % lie beyond
    the upper one.
    """
    most = _most_orders(law, repeats, age, weeks=weeks)
    low, high = np.zeros(len(most)), np.zeros(len(most))
    for steps in np.unique(np.ceil(np.log(most))):  # those who buy little need few numbers of orders
        own = np.flatnonzero(np.ceil(np.log(most)) == steps)
        asked = (repeats[own], last[own], age[own])
        weights, ahead = _orders_ahead(law, *asked, most=float(np.exp(steps)), weeks=weeks)
        low[own], high[own] = _bounds(weights, spend.p * ahead, spend.q + spend.p * orders[own])
    return low, high


def _most_orders(law: BgNbd, repeats: Floats, age: Floats, *, weeks: float) -> Floats:
    """More orders than a customer who is there will make, but for some deviations."""
    mean = (law.r + repeats) * weeks / (law.alpha + age)
    return np.maximum(mean + DEVIATIONS * np.sqrt(mean * (1 + weeks / (law.alpha + age))), 2.0)


def _orders_ahead(
    law: BgNbd, repeats: Floats, last: Floats, age: Floats, *, most: float, weeks: float
) -> tuple[Floats, Floats]:
    """The chances of numbers of orders, histories x numbers, and the numbers: 1, 2, 3, then ever fewer stand for all."""
    powers = GROWTH ** np.arange(1 + np.ceil(np.log(most) / np.log(GROWTH)))
    at_least = np.unique(np.ceil(powers)).astype(np.float64)
    chances = chance_of_orders(law, repeats, age, at_least=at_least, weeks=weeks)
    chances *= probability_alive(law, repeats, last, age)[:, None]
    weights = chances - np.append(chances[:, 1:], np.zeros((len(chances), 1)), axis=1)
    return weights, np.append((at_least[:-1] + at_least[1:] - 1) / 2, at_least[-1])


def _bounds(weights: Floats, shapes: Floats, rest: Floats) -> tuple[Floats, Floats]:
    may_be_nothing = weights.sum(axis=1) <= 1 - TAIL
    low = _quantile(weights, shapes, rest, above=np.full(len(rest), 1 - TAIL))
    return low, _quantile(weights, shapes, rest, above=np.where(may_be_nothing, 2 * TAIL, TAIL))


def _quantile(weights: Floats, shapes: Floats, rest: Floats, *, above: Floats) -> Floats:
    """Where the mixture of beta primes has the share `above` beyond it; 0 where less than that is above 0."""

    def excess(log_at: Floats, place: Floats) -> Floats:
        rows = place.astype(int)
        beyond = 1 - betainc(shapes, rest[rows][:, None], (1 / (1 + np.exp(-log_at)))[:, None])
        return np.asarray(np.einsum("rn,rn->r", weights[rows], beyond) - above[rows])

    found = np.zeros(len(weights))
    places = np.flatnonzero(weights.sum(axis=1) > above)
    if len(places):
        ends = tuple(np.full(len(places), end) for end in (-FURTHEST, FURTHEST))
        root = find_root(excess, ends, args=(places.astype(float),), tolerances={"xatol": EXACT, "xrtol": 0.0})
        found[places] = np.exp(root.x)
    return found
