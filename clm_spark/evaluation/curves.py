"""The metrics of `classification_metrics` in memory, each customer counted as often as asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clm_spark.evaluation.offers import OUTCOMES, Offer
from clm_spark.evaluation.ranks import DECILES

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

METRICS = (
    "auc",
    "average_precision",
    "lift_at_top_decile",
    "gain_at_top_decile",
    "brier",
    "brier_skill",
    "log_loss",
    "calibration_error",
)
OFFER_METRICS = (*OUTCOMES, "offer_value_cents")
LEAST_PROBABILITY = 2.0**-52  # as scikit-learn's: the logarithm of a probability of 0 is infinite


@dataclass(frozen=True)
class Curve:
    """A model's rows, the highest score first: sorted once, then counted in many ways.

    A count goes over all rows once; the rest of its work is about the positives, which are few.
    """

    customers: Places  # whose row it is
    positives: Places  # which rows are positive
    tie_starts: Places  # of each positive: the first row of its score
    tie_ends: Places  # and the row after the last
    positive_starts: Places  # the same, among the positives
    positive_ends: Places
    losses: Mapping[str, Floats]  # per customer, summed over the rows, of probabilities only
    excess: Floats | None  # of each row: probability less what came
    offer: Offer | None

    @classmethod
    def of(
        cls,
        scores: Floats,
        is_positive: NDArray[np.bool_],
        *,
        customers: Places | None = None,
        tie_order: NDArray[np.int64] | None = None,
        offer: Offer | None = None,
    ) -> Self:
        """Sorts the rows: equal scores by `tie_order`, NaN after all others. Customers are 0, 1, 2, ..."""
        whose = np.arange(len(scores)) if customers is None else customers
        order = np.lexsort((whose if tie_order is None else tie_order, -scores))
        descending, positives = -scores[order], np.flatnonzero(is_positive[order])
        of_positive = descending[positives]
        is_probability = bool(np.all((scores >= 0) & (scores <= 1)))
        return cls(
            customers=whose[order],
            positives=positives,
            tie_starts=np.searchsorted(descending, of_positive, side="left"),
            tie_ends=np.searchsorted(descending, of_positive, side="right"),
            positive_starts=np.searchsorted(of_positive, of_positive, side="left"),
            positive_ends=np.searchsorted(of_positive, of_positive, side="right"),
            losses={
                name: np.bincount(whose, values).astype(np.float64)
                for name, values in (_losses(scores, is_positive, offer) if is_probability else {}).items()
            },
            excess=(scores - is_positive)[order] if is_probability else None,
            offer=offer,
        )

    def figures(self, counts: Floats) -> Mapping[str, float]:
        """Every metric with each customer counted so often; NaN where it has no value."""
        weights = counts[self.customers]
        of_positive = weights[self.positives]
        rows_upto, positives_upto = _running(weights), _running(of_positive)
        num, num_positive = rows_upto[-1], positives_upto[-1]
        unknown = dict.fromkeys((*METRICS, *OFFER_METRICS), float("nan"))
        if num_positive in (0, num):
            return unknown
        rows, positives = rows_upto[self.tie_ends], positives_upto[self.positive_ends]
        negatives_upto = rows - positives
        negatives_above = rows_upto[self.tie_starts] - positives_upto[self.positive_starts]
        lost = _dot(of_positive, negatives_upto + negatives_above) / 2
        base_rate = num_positive / num
        share_at_top = self._share_at_top(rows_upto, positives_upto)
        return unknown | {
            "auc": 1 - lost / (num_positive * (num - num_positive)),
            # A score nobody is drawn of has no precision, and gains no recall.
            "average_precision": _dot(of_positive, positives / np.maximum(rows, 1)) / num_positive,
            "lift_at_top_decile": share_at_top / base_rate,
            "gain_at_top_decile": share_at_top * np.ceil(num / DECILES) / num_positive,
            **self._of_probabilities(counts, weights, num, base_rate),
        }

    def _share_at_top(self, rows_upto: Floats, positives_upto: Floats) -> float:
        """Positives among the highest tenth of the draws; of a row drawn often, some draws may lie below."""
        num_top = np.ceil(rows_upto[-1] / DECILES)
        last = int(np.searchsorted(rows_upto, num_top)) - 1
        before = int(np.searchsorted(self.positives, last))
        is_positive = before < len(self.positives) and self.positives[before] == last
        return float((positives_upto[before] + is_positive * (num_top - rows_upto[last])) / num_top)

    def _of_probabilities(self, counts: Floats, weights: Floats, num: float, base_rate: float) -> Mapping[str, float]:
        if self.excess is None:
            return {}
        means = {name: _dot(counts, losses) / num for name, losses in self.losses.items()}
        means["brier_skill"] = 1 - means["brier"] / (base_rate * (1 - base_rate))
        means["calibration_error"] = self._calibration_error(weights, num)
        if self.offer:
            means["offer_value_cents"] = self.offer.value_cents(*(means[name] for name in OUTCOMES[:2]))
        return means

    def _calibration_error(self, weights: Floats, num: float) -> float:
        """Over the tenths of the rows as they are, however often each is drawn."""
        assert self.excess is not None
        upto, size = _running(weights * self.excess), len(weights)
        edges = -(-np.arange(DECILES + 1) * size // DECILES)  # rows 0, 1, ... are in tenth floor(row * 10 / rows)
        return float(np.abs(np.diff(upto[edges])).sum() / num)


def _losses(scores: Floats, is_positive: NDArray[np.bool_], offer: Offer | None) -> dict[str, Floats]:
    """What every row adds to the figures that are means over rows."""
    given = np.maximum(np.where(is_positive, scores, 1 - scores), LEAST_PROBABILITY)
    losses = {"brier": (scores - is_positive) ** 2, "log_loss": -np.log(given)}
    if offer is None:
        return losses
    is_offered = scores >= offer.threshold
    outcomes = (
        is_offered & is_positive,
        is_offered & ~is_positive,
        ~is_offered & is_positive,
        ~is_offered & ~is_positive,
    )
    return losses | {name: outcome.astype(np.float64) for name, outcome in zip(OUTCOMES, outcomes, strict=True)}


def _running(weights: Floats) -> Floats:
    """Sums of the first 0, 1, 2, ... weights."""
    sums = np.zeros(len(weights) + 1)
    np.cumsum(weights, out=sums[1:])
    return sums


def _dot(a: Floats, b: Floats) -> float:
    """Without the threads of BLAS, which wait for each other on a machine that Spark keeps busy."""
    return float(np.einsum("i,i->", a, b))
