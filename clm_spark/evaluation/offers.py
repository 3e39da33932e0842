"""What an offer to the likeliest customers is worth, and from which probability on it pays."""

import math
from dataclasses import dataclass

OUTCOMES = ("true_positive_share", "false_positive_share", "false_negative_share", "true_negative_share")


@dataclass(frozen=True)
class Offer:
    """An offer costs `cost_cents` per customer it is made to; of those to whom the event would have come, it moves
    `response_share`, and each of these is worth `margin_cents`.
    """

    cost_cents: float
    margin_cents: float
    response_share: float

    @property
    def gain_cents(self) -> float:
        """What an offer to somebody to whom it happens brings on average, before its cost."""
        return self.response_share * self.margin_cents

    @property
    def threshold(self) -> float:
        """The probability from which on an offer pays: cost / (response x margin).

        For calibrated probabilities no other threshold has a higher expected value (Elkan 2001). It follows from the
        settings, not from the tested customers, so that the figures at it are no luckier than any other.
        """
        return self.cost_cents / self.gain_cents if self.gain_cents > 0 else math.inf

    def value_cents(self, true_positive_share: float, false_positive_share: float) -> float:
        """Per customer asked about: what offers to all above the threshold bring, less their cost."""
        offered = true_positive_share + false_positive_share
        return true_positive_share * self.gain_cents - offered * self.cost_cents
