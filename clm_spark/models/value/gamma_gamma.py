"""Gamma-Gamma: how much an order of a customer brings (Fader and Hardie 2013, "The Gamma-Gamma Model of Monetary Value").

Orders of a customer are gamma (shape p, rate nu); over customers, nu is gamma (shape q, rate v). A customer is `orders`, how
many, and `mean`, their mean amount; amounts are in one unit of money, that of v. Functions take arrays of customers.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

from clm_spark.models.value.arrays import per_run

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GammaGamma:
    """The three parameters; `v` in the unit of the amounts."""

    p: float
    q: float
    v: float

    names: ClassVar[tuple[str, ...]] = ("p", "q", "v")


def log_likelihood_terms(law: GammaGamma, orders: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """The log-likelihood of each customer's mean, above 0, and its gradient in (p, q, v): customers, and 3 x customers.

    Fader and Hardie (2013), equation 1a.
    """
    p, q, v = law.p, law.q, law.v
    total = orders * mean
    rate = v + total
    log_mean, log_share, shape = np.log(mean), np.log(total / rate), p * orders
    gammas = per_run(lambda x: gammaln(p * x + q) - gammaln(p * x), orders)
    terms = gammas - gammaln(q) + q * np.log(v / rate) + shape * log_share - log_mean
    of_both = per_run(lambda x: digamma(p * x + q), orders)
    of_shape = of_both - per_run(lambda x: digamma(p * x), orders)
    gradient = np.stack(
        [
            orders * (of_shape + log_share),
            of_both - digamma(q) + np.log(v / rate),
            q / v - (shape + q) / rate,
        ]
    )
    return terms, gradient


def expected_order(law: GammaGamma, orders: Floats, mean: Floats) -> Floats:
    """What an order of the customer is expected to bring: the own mean, drawn towards that of all by how little is known.

    Fader and Hardie (2013), equation 5: p (v + x zbar) / (p x + q - 1). Where q is 1 or less the mean over all customers is
    infinite, and a customer without orders has none.
    """
    return law.p * (law.v + orders * mean) / np.maximum(law.p * orders + law.q - 1, np.finfo(float).tiny)
