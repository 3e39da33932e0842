"""Customers whose law is known: drawn as BG/NBD and Gamma-Gamma say, with what they did after the morning asked about."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clm_spark.models.value.bg_nbd import BgNbd
from clm_spark.models.value.gamma_gamma import GammaGamma

Floats = NDArray[np.float64]

TRUE = BgNbd(r=0.8, alpha=5.0, a=1.0, b=4.0)
SPEND = GammaGamma(p=4.0, q=4.0, v=1500.0)


@dataclass(frozen=True)
class Simulated:
    """Histories in weeks, the mean of all orders so far, and what came in the weeks after."""

    repeats: Floats
    last: Floats
    age: Floats
    mean: Floats
    is_alive: NDArray[np.bool_]
    num_ahead: Floats
    cents_ahead: Floats


def simulate(
    num: int, *, seed: int, weeks_ahead: float, max_age_days: int = 420, law: BgNbd = TRUE, spend: GammaGamma = SPEND
) -> Simulated:
    """Customers who first bought on a day of the last `max_age_days`."""
    drawn = np.random.default_rng(seed)
    age = np.ceil(drawn.uniform(0, max_age_days, num)) / 7
    rate, leaves = drawn.gamma(law.r, 1 / law.alpha, num), drawn.beta(law.a, law.b, num)
    scale = 1 / drawn.gamma(spend.q, 1 / spend.v, num)
    at, is_here = np.zeros(num), np.ones(num, dtype=bool)
    repeats, last, ahead, cents_ahead = (np.zeros(num) for _ in range(4))
    cents, is_alive = drawn.gamma(spend.p, scale), np.zeros(num, dtype=bool)
    while is_here.any():
        at = np.where(is_here, at + drawn.exponential(1 / rate), np.inf)
        is_past, is_ahead = is_here & (at <= age), is_here & (at > age) & (at <= age + weeks_ahead)
        is_alive |= is_here & (at > age)  # whose next purchase lies ahead has not left
        amount = drawn.gamma(spend.p, scale)
        repeats, last, cents = repeats + is_past, np.where(is_past, at, last), cents + np.where(is_past, amount, 0)
        ahead, cents_ahead = ahead + is_ahead, cents_ahead + np.where(is_ahead, amount, 0)
        is_here = (is_past | is_ahead) & (drawn.random(num) > leaves)
    return Simulated(repeats, last, age, cents / (repeats + 1), is_alive, ahead, cents_ahead)
