"""What a law says of customers: chance of being there, orders, value, lifetime value, each with its interval."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clm_spark.models.value.arrays import distinct
from clm_spark.models.value.bg_nbd import BgNbd, expected_if_alive, probability_alive, probability_alive_slopes
from clm_spark.models.value.gamma_gamma import GammaGamma, expected_order
from clm_spark.models.value.histories import DAYS_A_WEEK
from clm_spark.models.value.law import Law, Matrix
from clm_spark.models.value.predictive import amount_bounds
from clm_spark.models.value.settings import ValueSettings

Floats = NDArray[np.float64]

WEEKS_A_YEAR = 365.25 / DAYS_A_WEEK
WEEKS_A_PERIOD = 4.0  # lifetime value is discounted at the middle of so many weeks
STEP = 1e-4  # of a parameter's logarithm, for the delta method
TWO_SIDED = 1.959964  # the normal quantile of 97.5 %


@dataclass(frozen=True)
class Histories:
    """Purchase histories and spend of customers, columns as `histories.purchase_histories` has them."""

    repeats: Floats
    last: Floats
    age: Floats
    orders: Floats
    mean: Floats

    def of_pairs(self, function: Callable[[Floats, Floats], Floats]) -> Floats:
        """A function of repeats and age, which many customers share, computed once for each such pair; customers come last."""
        (repeats, age), place = self._pairs
        return function(repeats, age)[..., place]

    @cached_property
    def _pairs(self) -> tuple[Floats, NDArray[np.intp]]:
        return distinct(self.repeats, self.age)


def estimates(law: Law, asked: Histories, settings: ValueSettings) -> dict[str, Floats]:
    """The columns of ESTIMATES, an array each. Amounts are in cents."""
    weeks, lifetime = settings.horizon_days / DAYS_A_WEEK, settings.lifetime_days / DAYS_A_WEEK
    rate = settings.annual_discount_rate
    soon, ever = ExpectedOrders.of(law, asked, weeks=weeks), ExpectedOrders.of(law, asked, weeks=lifetime)
    amount = order_cents(law, asked)
    low, high = _bounds(law, asked, soon)
    lifetime_low, lifetime_high = _bounds(law, asked, ever)
    discounted = asked.of_pairs(lambda *pairs: discounted_if_alive(law.purchases, *pairs, weeks=lifetime, rate=rate))
    none = np.zeros(len(amount))
    worth = settings.margin * np.divide(discounted, ever.if_alive, out=none, where=ever.if_alive > 0)
    return {
        "value": soon.orders * amount,
        "value_low": low,
        "value_high": high,
        "lifetime_value": worth * ever.orders * amount,
        "lifetime_value_low": worth * lifetime_low,
        "lifetime_value_high": worth * lifetime_high,
        "probability_alive": soon.alive,
        "expected_orders": soon.orders,
        "expected_order_cents": amount,
    }


ESTIMATES = (
    "value",
    "value_low",
    "value_high",
    "lifetime_value",
    "lifetime_value_low",
    "lifetime_value_high",
    "probability_alive",
    "expected_orders",
    "expected_order_cents",
)


def order_cents(law: Law, asked: Histories) -> Floats:
    """What a purchase day of each customer is expected to bring, net of refunds."""
    if law.spend is None:
        return np.full(len(asked.mean), law.mean_order_cents)
    return law.net_share * expected_order(law.spend, asked.orders, asked.mean)


@dataclass(frozen=True)
class ExpectedOrders:
    """Orders that customers are expected to make in the next `weeks`, with how sure the law of purchases is of them."""

    weeks: float
    alive: Floats
    if_alive: Floats  # orders of those who are there
    variance: Floats  # of `orders`, because the law is estimated

    @property
    def orders(self) -> Floats:
        """Of all, there or not."""
        return self.alive * self.if_alive

    @classmethod
    def of(cls, law: Law, asked: Histories, *, weeks: float) -> "ExpectedOrders":
        """By the delta method: g' C g, C the covariance of the parameters' logarithms and g the derivatives in them.

        Orders of those who are there follow from repeats and age alone, and their derivatives are central differences.
        """
        at, histories = _parameters(law.purchases), (asked.repeats, asked.last, asked.age)

        def if_alive(repeats: Floats, age: Floats) -> Floats:
            def orders(parameters: Floats) -> Floats:
                return expected_if_alive(BgNbd(*parameters), repeats, age, weeks=weeks)

            return np.vstack([orders(at), _slopes(orders, at)])

        alive = probability_alive(law.purchases, *histories)
        found, *slopes = asked.of_pairs(if_alive)
        gradient = alive * np.stack(slopes) + found * probability_alive_slopes(law.purchases, *histories)
        return cls(weeks, alive, found, _variance(gradient, law.purchases_covariance))


def discounted_if_alive(law: BgNbd, repeats: Floats, age: Floats, *, weeks: float, rate: float) -> Floats:
    """Orders expected in the next `weeks` of customers who are there, each worth less the later it comes."""
    ends = np.append(np.arange(WEEKS_A_PERIOD, weeks, WEEKS_A_PERIOD), weeks)
    total, before, begun = np.zeros(len(age)), np.zeros(len(age)), 0.0
    for end in ends:
        until = expected_if_alive(law, repeats, age, weeks=float(end))
        total += (until - before) / (1 + rate) ** ((begun + end) / 2 / WEEKS_A_YEAR)
        before, begun = until, float(end)
    return total


def standard_errors(law: Law, asked: Histories, ahead: ExpectedOrders) -> Floats:
    """How far the expected value may be off because the law is estimated; orders and amounts are fitted apart, so they add."""
    variance = order_cents(law, asked) ** 2 * ahead.variance
    if law.spend is not None:

        def amounts(parameters: Floats) -> Floats:
            return law.net_share * expected_order(GammaGamma(*parameters), asked.orders, asked.mean)

        of_spend = np.array([law.spend.p, law.spend.q, law.spend.v])
        variance += ahead.orders**2 * _variance(_slopes(amounts, of_spend), law.spend_covariance)
    return np.sqrt(variance)


def _parameters(law: BgNbd) -> Floats:
    return np.array([law.r, law.alpha, law.a, law.b])


def _slopes(function: Callable[[Floats], Floats], at: Floats) -> Floats:
    """Derivatives in the logarithms of the parameters, by central differences: parameters x customers."""
    moved = np.exp(STEP * np.eye(len(at)))
    return np.stack([(function(at * step) - function(at / step)) / (2 * STEP) for step in moved])


def _variance(slopes: Floats, covariance: Matrix) -> Floats:
    return np.asarray(np.maximum((slopes * (np.array(covariance) @ slopes)).sum(axis=0), 0.0))


def _bounds(law: Law, asked: Histories, ahead: ExpectedOrders) -> tuple[Floats, Floats]:
    """The interval of what comes: the predictive bounds, moved out by the error of the law itself.

    Both distances from the expected value add as independent errors do, squared.
    """
    if law.spend is None:
        return np.full(len(asked.age), np.nan), np.full(len(asked.age), np.nan)
    histories = (asked.repeats, asked.last, asked.age, asked.orders)
    bounds = amount_bounds(law.purchases, law.spend, *histories, weeks=ahead.weeks)
    scale = law.net_share * (law.spend.v + asked.orders * asked.mean)
    low, high = (scale * bound for bound in bounds)
    value = ahead.orders * order_cents(law, asked)
    error = TWO_SIDED * standard_errors(law, asked, ahead)
    below, above = np.hypot(np.maximum(value - low, 0), error), np.hypot(np.maximum(high - value, 0), error)
    return np.where(low > 0, np.maximum(value - below, 0.0), 0.0), value + above
