"""What a customer will bring, as a distribution: orders that may not come at all, each of an amount that differs.

Given n orders and the customer's past, their sum is `scale` times a beta prime (p n, q + p x), x being the orders so far and
the scale v + x zbar of Gamma-Gamma; n has the chances of BG/NBD. So the bounds over the scale follow from the purchase
history alone.

Let S(y) be the chance that a customer who is there brings more than y. It follows from the repeats, the orders and the age:
the chances of n from the first and the last, the beta primes from the orders. So S is worked out once for all customers who
share these, on a grid of log y, and their bounds are read from it by how likely they are to be there. Between points log y is a cubic in the
log odds of S(y) / S(0), and beyond them a line, since S goes as a power of y at both ends.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc, digamma, expit, polygamma

from clm_spark.models.value.arrays import distinct
from clm_spark.models.value.bg_nbd import BgNbd, chance_of_orders, probability_alive
from clm_spark.models.value.gamma_gamma import GammaGamma

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
GROWTH = 1.1  # of the numbers of orders that stand for those up to the next one
DEVIATIONS = 5.0  # of the number of orders: the rest counts as the last
REACH = 4.0  # deviations of the logarithm by which the grid goes beyond one order and the most orders
POINTS = (64, 1024)  # of the grid, fewest and most: powers of two
TINY = np.finfo(float).tiny


def amount_bounds(
    law: BgNbd, spend: GammaGamma, repeats: Floats, last: Floats, age: Floats, orders: Floats, *, weeks: float
) -> tuple[Floats, Floats]:
    """The 95 % interval of what comes in the next `weeks`, over v + x zbar, for each history: lower and upper bounds.

    `orders` is x, the number of orders that the customer's mean is known from.

    2.5 % lie beyond either bound; where the chance of nothing is more than that, the lower bound is 0 and 5 % lie beyond
    the upper one.
    """
    low, high = np.zeros(len(age)), np.zeros(len(age))
    alive = probability_alive(law, repeats, last, age)
    (of_repeats, of_orders, ages), group = distinct(repeats, orders, age)
    is_new = (of_repeats[1:] != of_repeats[:-1]) | (of_orders[1:] != of_orders[:-1])
    ends = np.append(np.flatnonzero(is_new) + 1, len(ages))
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.searchsorted(group[order], ends[:-1]))
    for begin, end, rows in zip(np.append(0, ends[:-1]), ends, parts, strict=True):  # one for each number of repeats
        survival = Survival.of(law, spend, of_repeats[begin], of_orders[begin], ages[begin:end], weeks=weeks)
        low[rows], high[rows] = _bounds(survival, group[rows] - begin, alive[rows])
    return low, high


def _bounds(survival: "Survival", place: Places, alive: Floats) -> tuple[Floats, Floats]:
    may_be_nothing = alive * survival.any[place] <= 1 - TAIL
    high = survival.exceeded(place, np.where(may_be_nothing, 2 * TAIL, TAIL) / alive)
    return survival.exceeded(place, (1 - TAIL) / alive), high


@dataclass(frozen=True)
class Survival:
    """S of customers who are there and have bought so often before, a row per age: see the module.

    `log_y` are equal steps; `odds`, rows x points, is the logarithm of (S(0) - S(y)) / S(y), which grows with y; `any` is S(0).
    """

    log_y: Floats
    odds: Floats
    any: Floats

    @classmethod
    def of(
        cls, law: BgNbd, spend: GammaGamma, repeats: float, orders: float, ages: Floats, *, weeks: float
    ) -> "Survival":
        """S at `ages`."""
        weights, ahead = _orders_ahead(law, repeats, ages, weeks=weeks)
        shapes, rest = spend.p * ahead, spend.q + spend.p * orders
        log_y = _grid(shapes, rest)
        share = expit(log_y)
        below, above = (weights @ part(shapes[:, None], rest, share) for part in (betainc, betaincc))
        return cls(log_y, np.log(np.maximum(below, TINY)) - np.log(np.maximum(above, TINY)), weights.sum(axis=1))

    def exceeded(self, row: Places, chance: Floats) -> Floats:
        """The y above which there is the `chance`, one of each of `row`; 0 where less than that is above 0."""
        found = np.zeros(len(row))
        some = np.flatnonzero(chance < self.any[row])
        asked, at = row[some], chance[some]
        found[some] = np.exp(self._log_y_at(asked, np.log(self.any[asked] - at) - np.log(at)))
        return found

    def _log_y_at(self, row: Places, odds: Floats) -> Floats:
        """Hermite's cubic, monotone: the slope at a point is the harmonic mean of those beside it (Fritsch and Butland 1984)."""
        width = self.log_y[1] - self.log_y[0]
        steps = np.maximum(np.diff(self.odds, axis=1), TINY)
        both = steps[:, 1:] + steps[:, :-1]
        slopes = width * np.concatenate([1 / steps[:, :1], 2 / both, 1 / steps[:, -1:]], axis=1)
        at = np.zeros(len(row), dtype=np.intp)
        half = self.odds.shape[1] // 2
        while half:  # halving: the last point, but for the end, that is not beyond what is asked
            at = np.where(self.odds[row, at + half] <= odds, at + half, at)
            half //= 2
        at = np.minimum(at, len(self.log_y) - 2)
        step = steps[row, at]
        part = (odds - self.odds[row, at]) / step
        begin, end = slopes[row, at] * step, slopes[row, at + 1] * step
        inside = np.clip(part, 0.0, 1.0)
        rest = 1 - inside
        cubic = inside * inside * (3 - 2 * inside) * width + inside * rest * (rest * begin - inside * end)
        beyond = np.minimum(part, 0.0) * begin + np.maximum(part - 1, 0.0) * end
        return np.asarray(self.log_y[at] + cubic + beyond)


def _orders_ahead(law: BgNbd, repeats: float, ages: Floats, *, weeks: float) -> tuple[Floats, Floats]:
    """The chances of numbers of orders, ages x numbers, and the numbers: 1, 2, 3, then ever fewer stand for all."""
    mean = (law.r + repeats) * weeks / (law.alpha + ages)
    most = float(np.max(mean + DEVIATIONS * np.sqrt(mean * (1 + weeks / (law.alpha + ages))), initial=2.0))
    powers = GROWTH ** np.arange(1 + np.ceil(np.log(most) / np.log(GROWTH)))
    at_least = np.unique(np.ceil(powers))
    chances = chance_of_orders(law, np.full(len(ages), repeats), ages, at_least=at_least, weeks=weeks)
    weights = chances - np.append(chances[:, 1:], np.zeros((len(chances), 1)), axis=1)
    return np.maximum(weights, 0.0), np.append((at_least[:-1] + at_least[1:] - 1) / 2, at_least[-1])


def _grid(shapes: Floats, rest: float) -> Floats:
    """Equal steps of log y: from where one order hardly brings less to where the most hardly bring more."""
    ends = shapes[[0, -1]]
    middle = digamma(ends) - digamma(rest)
    deviation = np.sqrt(polygamma(1, ends) + polygamma(1, rest))
    low, high = middle[0] - REACH * deviation[0], middle[1] + REACH * deviation[1]
    fewest, most = POINTS
    # Amounts that hardly differ make steps, from each number of orders to the next.
    asked = 2 * (high - low) / deviation[0]
    return np.linspace(low, high, int(2 ** np.ceil(np.log2(np.clip(asked, fewest, most)))))
