"""What a law says of customers: chance of being there, orders, value, lifetime value, each with its interval."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clm_spark.models.value.bg_nbd import BgNbd, expected_if_alive, probability_alive
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
        """A function of repeats and age, which many customers share, computed once for each such pair."""
        (repeats, age), place = self._pairs
        return function(repeats, age)[place]

    @cached_property
    def _pairs(self) -> tuple[Floats, NDArray[np.intp]]:
        return _distinct(self.repeats, self.age)


def estimates(law: Law, asked: Histories, settings: ValueSettings) -> dict[str, Floats]:
    """The columns of ESTIMATES, an array each. Amounts are in cents."""
    alive = probability_alive(law.purchases, asked.repeats, asked.last, asked.age)
    weeks, lifetime = settings.horizon_days / DAYS_A_WEEK, settings.lifetime_days / DAYS_A_WEEK
    orders = alive * orders_if_alive(law.purchases, asked, weeks=weeks)
    amount = order_cents(law, asked)
    value = orders * amount
    low, high = _bounds(law, asked, value, weeks=weeks)
    all_orders = alive * orders_if_alive(law.purchases, asked, weeks=lifetime)
    discounted = alive * discounted_if_alive(law.purchases, asked, weeks=lifetime, rate=settings.annual_discount_rate)
    worth = settings.margin * np.divide(discounted, all_orders, out=np.zeros_like(alive), where=all_orders > 0)
    lifetime_low, lifetime_high = _bounds(law, asked, all_orders * amount, weeks=lifetime)
    return {
        "value": value,
        "value_low": low,
        "value_high": high,
        "lifetime_value": worth * all_orders * amount,
        "lifetime_value_low": worth * lifetime_low,
        "lifetime_value_high": worth * lifetime_high,
        "probability_alive": alive,
        "expected_orders": orders,
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


def orders_if_alive(law: BgNbd, asked: Histories, *, weeks: float) -> Floats:
    """Orders expected in the next `weeks` of customers who are there: they follow from repeats and age alone."""
    return asked.of_pairs(lambda repeats, age: expected_if_alive(law, repeats, age, weeks=weeks))


def discounted_if_alive(law: BgNbd, asked: Histories, *, weeks: float, rate: float) -> Floats:
    """Orders expected in the next `weeks` of customers who are there, each worth less the later it comes."""
    ends = np.append(np.arange(WEEKS_A_PERIOD, weeks, WEEKS_A_PERIOD), weeks)
    total, before, begun = np.zeros(len(asked.age)), np.zeros(len(asked.age)), 0.0
    for end in ends:
        until = orders_if_alive(law, asked, weeks=float(end))
        total += (until - before) / (1 + rate) ** ((begun + end) / 2 / WEEKS_A_YEAR)
        before, begun = until, float(end)
    return total


def standard_errors(law: Law, asked: Histories, *, weeks: float) -> Floats:
    """How far the expected value of the next `weeks` may be off because the law is estimated, by the delta method.

    The square root of g' C g, with C the covariance of the parameters' logarithms and g the derivatives in them, by central
    differences; orders and amounts are fitted apart, so that their shares add up.
    """

    def orders_of(parameters: Floats) -> Floats:
        moved = BgNbd(*parameters)
        alive = probability_alive(moved, asked.repeats, asked.last, asked.age)
        return alive * orders_if_alive(moved, asked, weeks=weeks)

    amount, at = order_cents(law, asked), _parameters(law.purchases)
    variance = amount**2 * _variance(orders_of, at, law.purchases_covariance)
    if law.spend is not None:

        def amounts_of(parameters: Floats) -> Floats:
            return law.net_share * expected_order(GammaGamma(*parameters), asked.orders, asked.mean)

        of_spend = np.array([law.spend.p, law.spend.q, law.spend.v])
        variance += orders_of(at) ** 2 * _variance(amounts_of, of_spend, law.spend_covariance)
    return np.sqrt(variance)


def _distinct(*columns: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Every different row of the columns, and which of them each row is."""
    order = np.lexsort(columns)
    ordered = np.stack(columns)[:, order]
    is_new = np.append(True, np.any(ordered[:, 1:] != ordered[:, :-1], axis=0))
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.cumsum(is_new) - 1
    return ordered[:, is_new], place


def _parameters(law: BgNbd) -> Floats:
    return np.array([law.r, law.alpha, law.a, law.b])


def _variance(function: Callable[[Floats], Floats], at: Floats, covariance: Matrix) -> Floats:
    moved = np.exp(STEP * np.eye(len(at)))
    slopes = np.stack([(function(at * step) - function(at / step)) / (2 * STEP) for step in moved])
    return np.asarray(np.maximum(np.einsum("ic,ij,jc->c", slopes, np.array(covariance), slopes), 0.0))


def _bounds(law: Law, asked: Histories, value: Floats, *, weeks: float) -> tuple[Floats, Floats]:
    """The interval of what comes in the next `weeks`: the predictive bounds, moved out by the error of the law itself.

    Both distances from the expected value add as independent errors do, squared.
    """
    if law.spend is None:
        return np.full(len(value), np.nan), np.full(len(value), np.nan)
    (repeats, last, age, orders), place = _distinct(asked.repeats, asked.last, asked.age, asked.orders)
    bounds = amount_bounds(law.purchases, law.spend, repeats, last, age, orders, weeks=weeks)
    low, high = (bound[place] for bound in bounds)
    scale = law.net_share * (law.spend.v + asked.orders * asked.mean)
    error = TWO_SIDED * standard_errors(law, asked, weeks=weeks)
    below = np.hypot(np.maximum(value - scale * low, 0), error)
    above = np.hypot(np.maximum(scale * high - value, 0), error)
    return np.where(low > 0, np.maximum(value - below, 0.0), 0.0), value + above
