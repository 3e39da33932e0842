"""BG/NBD: how often customers buy, and when they stop (Fader, Hardie and Lee 2005).

While a customer is there, purchases come by a Poisson process of rate lambda; after each one the customer leaves with chance
p. Over customers, lambda is gamma (shape r, rate alpha) and p is beta (a, b). A history is `repeats` (x, purchases after the
first), `last` (t_x, time from the first purchase to the last) and `age` (T, time from the first purchase to now), in one unit
of time, here weeks. Functions take arrays of histories, all of one length.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaln, digamma, expit, gammaln, hyp2f1

from clm_spark.models.value.arrays import per_run

Floats = NDArray[np.float64]

NEAR_ONE = 1e-5  # where the expected orders divide by a - 1, a is kept so far from 1


@dataclass(frozen=True)
class BgNbd:
    """The four parameters; `alpha` in weeks."""

    r: float
    alpha: float
    a: float
    b: float

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b")


def log_likelihood_terms(law: BgNbd, repeats: Floats, last: Floats, age: Floats) -> tuple[Floats, Floats]:
    """The log-likelihood of each history, and its gradient in (r, alpha, a, b): histories, and 4 x histories.

    Fader, Hardie and Lee (2005), equation 6, with the sum of its two terms taken on a log scale.
    """
    r, alpha, a, b = law.r, law.alpha, law.a, law.b
    shape = r + repeats
    stays = np.where(repeats > 0, b + repeats - 1, np.inf)  # who has not bought again cannot have left
    log_odds = np.log(a) - per_run(np.log, stays)
    log_age, log_last = np.log(alpha + age), np.log(alpha + last)
    log_left = log_odds + shape * (log_age - log_last)  # over the part of those who are there
    here, left = expit(-log_left), expit(log_left)
    gammas = per_run(lambda x: gammaln(r + x) + gammaln(b + x) - gammaln(a + b + x), repeats)
    of_all = -gammaln(r) + r * np.log(alpha) + gammaln(a + b) - gammaln(b)
    terms = of_all + gammas - shape * log_age + np.logaddexp(0, log_left)
    of_shape = per_run(lambda x: digamma(r + x), repeats) - digamma(r) + np.log(alpha)
    of_both = digamma(a + b) - per_run(lambda x: digamma(a + b + x), repeats)
    of_b = per_run(lambda x: digamma(b + x), repeats) - digamma(b)
    gradient = np.stack(
        [
            of_shape - here * log_age - left * log_last,
            r / alpha - shape * (here / (alpha + age) + left / (alpha + last)),
            of_both + left / a,
            of_both + of_b - left / stays,
        ]
    )
    return terms, gradient


def probability_alive(law: BgNbd, repeats: Floats, last: Floats, age: Floats) -> Floats:
    """The chance that a customer of this history has not left; 1 where nothing was bought again.

    Fader, Hardie and Lee (2008), "Computing P(alive) using the BG/NBD model".
    """
    is_repeat = repeats > 0
    odds = np.log(law.a) - np.log(np.where(is_repeat, law.b + repeats - 1, 1.0))
    odds = odds + (law.r + repeats) * (np.log(law.alpha + age) - np.log(law.alpha + last))
    return np.where(is_repeat, expit(-odds), 1.0)


def probability_alive_slopes(law: BgNbd, repeats: Floats, last: Floats, age: Floats) -> Floats:
    """Derivatives of `probability_alive` in the logarithms of (r, alpha, a, b): 4 x histories."""
    is_repeat, (since_age, since_last) = repeats > 0, (law.alpha + age, law.alpha + last)
    still = np.where(is_repeat, law.b + repeats - 1, 1.0)
    alive = probability_alive(law, repeats, last, age)
    of_odds = np.stack(
        [
            law.r * np.log(since_age / since_last),
            law.alpha * (law.r + repeats) * (1 / since_age - 1 / since_last),
            np.ones(len(age)),
            -law.b / still,
        ]
    )
    return np.asarray(np.where(is_repeat, -alive * (1 - alive), 0.0) * of_odds)


def expected_if_alive(law: BgNbd, repeats: Floats, age: Floats, *, weeks: Floats | float) -> Floats:
    """Orders expected in the next `weeks` of a customer who is still there; at age 0, the repeats of a new one.

    Times `probability_alive` this is equation 10 of Fader, Hardie and Lee (2005), whose 2F1 is left as it is, with z between 0
    and 1, or turned by Euler's transformation, 2F1(A, B; C; z) = (1 - z)^(C - A - B) 2F1(C - A, C - B; C; z): as published
    where C > A + B, turned where not. So it is always the one that stays bounded up to z = 1; the other makes scipy lose all
    digits in silence.
    """
    a = law.a if abs(law.a - 1) > NEAR_ONE else 1 + NEAR_ONE
    shape, both, share = law.r + repeats, a + law.b + repeats - 1, weeks / (law.alpha + age + weeks)
    is_turned = a - 1 < shape
    first, second = (np.where(is_turned, both - shape, shape), np.where(is_turned, a - 1, law.b + repeats))
    with np.errstate(invalid="ignore"):
        still_here = (1 - share) ** np.where(is_turned, a - 1, shape) * hyp2f1(first, second, both, share)
    found = np.asarray(np.maximum(both / (a - 1) * (1 - still_here), 0.0))
    far = np.broadcast_to(np.asarray(weeks, dtype=float), found.shape)
    for place in np.flatnonzero(~np.isfinite(found)):  # 0 times infinity, where r + x and b both go into the hundreds
        found[place] = _summed(law, repeats[place], age[place], weeks=float(far[place]))
    return found


def _summed(law: BgNbd, repeats: float, age: float, *, weeks: float) -> float:
    """The same as the sum over n of the chance of the n-th order; from twelve deviations on nothing is added."""
    mean = (law.r + repeats) * weeks / (law.alpha + age)
    most = mean + 12 * np.sqrt(mean * (1 + weeks / (law.alpha + age))) + 50
    at_least = np.arange(1.0, most)
    return float(chance_of_orders(law, np.array([repeats]), np.array([age]), at_least=at_least, weeks=weeks).sum())


def expected_orders(law: BgNbd, repeats: Floats, last: Floats, age: Floats, *, weeks: float) -> Floats:
    """Orders expected in the next `weeks` of a customer of this history."""
    return probability_alive(law, repeats, last, age) * expected_if_alive(law, repeats, age, weeks=weeks)


def chance_of_orders(law: BgNbd, repeats: Floats, age: Floats, *, at_least: Floats, weeks: float) -> Floats:
    """The chance that a customer who is still there orders so often or more in the next `weeks`: histories x `at_least`.

    The n-th order comes where the customer stays after the first n - 1 and the Poisson process makes n. Given that the
    customer is there, lambda is gamma (r + x, alpha + T) and p is beta (a, b + x), independent of each other, so
    P(N >= n) = B(a, b + x + n - 1) / B(a, b + x) * I_{t / (alpha + T + t)}(n, r + x).
    """
    b = (law.b + repeats)[:, None]
    stays = np.exp(betaln(law.a, b + at_least - 1) - betaln(law.a, b))
    share = weeks / (law.alpha + age + weeks)
    return np.asarray(stays * betainc(at_least, (law.r + repeats)[:, None], share[:, None]))
