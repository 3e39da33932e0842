"""Pareto/NBD: how often customers buy, and when they stop (Schmittlein, Morrison and Colombo 1987).

While a customer is there, purchases come by a Poisson process of rate lambda; at any time the customer may leave, at rate mu.
Over customers, lambda is gamma (shape r, rate alpha) and mu is gamma (shape s, rate beta). Histories are those of `bg_nbd`.
Unlike there, a customer who has not bought again may have left, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln, logsumexp

Floats = NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
FADED = 40.0  # where the integrand has fallen by so many powers of e, the integral ends
ROWS_AT_ONCE = 20_000  # histories x nodes in one array: 5 MB
NEAR_ONE = 1e-9  # of s, where the expected orders divide by s - 1


@dataclass(frozen=True)
class ParetoNbd:
    """The four parameters; `alpha` and `beta` in weeks."""

    r: float
    alpha: float
    s: float
    beta: float

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "s", "beta")


def log_likelihood_terms(law: ParetoNbd, repeats: Floats, last: Floats, age: Floats) -> tuple[Floats, Floats]:
    """The log-likelihood of each history, and its gradient in (r, alpha, s, beta): histories, and 4 x histories.

    The customer is there at `age`, or left at some t after `last`; with both rates integrated out this is
    G(r + x) / G(r) alpha^r beta^s [(alpha + T)^-(r + x) (beta + T)^-s + s INT (alpha + t)^-(r + x) (beta + t)^-(s + 1) dt],
    G being the gamma function and t running from t_x to T. The integral is taken by Gauss and Legendre's rule of 32 nodes over
    log(min(alpha, beta) + t), and so is its gradient, term by term: no 2F1 and no difference of two of them is needed.
    """
    parts = [_terms(law, *block) for block in _blocks(repeats, last, age)]
    return np.concatenate([terms for terms, _ in parts]), np.concatenate([slopes for _, slopes in parts], axis=1)


def probability_alive(law: ParetoNbd, repeats: Floats, last: Floats, age: Floats) -> Floats:
    """The chance that a customer of this history has not left: the first of the likelihood's two parts, over both."""
    parts = [_shares(law, *block)[1] for block in _blocks(repeats, last, age)]
    return np.concatenate(parts)


def expected_orders(law: ParetoNbd, repeats: Floats, last: Floats, age: Floats, *, weeks: float) -> Floats:
    """Orders expected in the next `weeks` of a customer of this history.

    Schmittlein, Morrison and Colombo (1987), equation 22:
    P(alive) (r + x) (beta + T) / ((alpha + T) (s - 1)) [1 - ((beta + T) / (beta + T + t))^(s - 1)].
    """
    beta = law.beta + age
    steps, over = np.log1p(weeks / beta), law.s - 1
    time = beta * (steps if abs(over) < NEAR_ONE else -np.expm1(-over * steps) / over)
    return np.asarray(probability_alive(law, repeats, last, age) * (law.r + repeats) / (law.alpha + age) * time)


def _blocks(*columns: Floats) -> Iterator[list[Floats]]:
    for begin in range(0, max(len(columns[0]), 1), ROWS_AT_ONCE):
        yield [column[begin : begin + ROWS_AT_ONCE] for column in columns]


def _shares(law: ParetoNbd, repeats: Floats, last: Floats, age: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """The logarithm of the bracket, the share of it where the customer is there, that where they left at t, and the t."""
    shape = law.r + repeats
    faded = (law.alpha + last) * np.exp(np.minimum(FADED / np.maximum(shape, 1e-6), FADED)) - law.alpha
    nearest = min(law.alpha, law.beta)  # what changes fastest sets the scale
    begin, end = np.log(nearest + last), np.log(nearest + np.minimum(age, faded))
    half = (end - begin) / 2
    logs = (begin + half)[:, None] + half[:, None] * NODES
    left_at = np.exp(logs) - nearest
    with np.errstate(divide="ignore"):  # who bought on the very day asked about has had no time to leave
        log_left = (
            np.log(half)[:, None] + np.log(WEIGHTS) + logs + np.log(law.s)
            - shape[:, None] * np.log(law.alpha + left_at) - (law.s + 1) * np.log(law.beta + left_at)
        )  # fmt: skip
    log_here = -shape * np.log(law.alpha + age) - law.s * np.log(law.beta + age)
    log_either = np.logaddexp(log_here, logsumexp(log_left, axis=1))
    return log_either, np.exp(log_here - log_either), np.exp(log_left - log_either[:, None]), left_at


def _terms(law: ParetoNbd, repeats: Floats, last: Floats, age: Floats) -> tuple[Floats, Floats]:
    r, alpha, s, beta = law.r, law.alpha, law.s, law.beta
    log_either, here, left, left_at = _shares(law, repeats, last, age)
    shape = r + repeats
    terms = gammaln(shape) - gammaln(r) + r * np.log(alpha) + s * np.log(beta) + log_either

    def mean(at_age: Floats, at_leaving: Floats) -> Floats:
        return np.asarray(here * at_age + np.einsum("cn,cn->c", left, at_leaving))

    has_left = left.sum(axis=1)
    gradient = np.stack(
        [
            digamma(shape) - digamma(r) + np.log(alpha) - mean(np.log(alpha + age), np.log(alpha + left_at)),
            r / alpha - shape * mean(1 / (alpha + age), 1 / (alpha + left_at)),
            np.log(beta) - mean(np.log(beta + age), np.log(beta + left_at)) + has_left / s,
            s / beta - s * here / (beta + age) - (s + 1) * np.einsum("cn,cn->c", left, 1 / (beta + left_at)),
        ]
    )
    return terms, gradient
