"""Who is served: the best by the deciding metric; an incumbent gives way only to what is better beyond chance."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from clm_spark.errors import TooLittleDataError
from clm_spark.models.task import Comparison, Lead

log = logging.getLogger(__name__)

INCUMBENT = "incumbent"  # the champion in use until the run's day, among the entrants' answers


@dataclass(frozen=True)
class Election:
    """`winner` is an entrant, or `INCUMBENT`.

    `leads` are all entrants' over the incumbent, where there is one; `margins` the winner's over each of the others.
    """

    winner: str
    leads: dict[str, Lead]
    margins: dict[str, Lead]


def elect(
    comparison: Comparison, *, metric: str, entrants: Sequence[str], floors: Sequence[str] = (), incumbent: str = ""
) -> Election:
    """Choose among `entrants`, earlier ones first where they tie, and the incumbent.

    `incumbent` is the name under which it was compared; empty where there is none. A candidate takes its place only
    where the lower 95 % bound of the paired bootstrap is above zero. Raises `TooLittleDataError` where `floors` beat
    all: nothing is to be learned.
    """
    values = {figure.model: figure.value for figure in comparison.figures if figure.metric == metric}
    tested = [name for name in entrants if name in values]
    best = max(tested, key=lambda name: values[name], default=None)
    floor = max((values[name] for name in floors if name in values), default=float("-inf"))
    leads = {name: comparison.lead(name, incumbent) for name in values if name != incumbent} if incumbent else {}

    def won_by(winner: str) -> Election:
        return Election(winner, leads, {name: comparison.lead(winner, name) for name in values if name != winner})

    if best is not None and values[best] <= floor:
        log.warning("%s is no better than chance: %s %.4f against %.4f", best, metric, values[best], floor)
        best = None
    if not incumbent:
        if best is None:
            raise TooLittleDataError(f"no entrant can be served: none has a {metric} above {floor:.4f}, that of chance")
        return won_by(best)
    if best is None or best == incumbent:
        return won_by(incumbent)
    lead = leads[best]
    summary = f"{metric} {values[best]:.4f} against {values[incumbent]:.4f}, lead {lead.value:+.4f} ({lead.low:+.4f} to {lead.high:+.4f})"
    if lead.low > 0:
        log.info("%s replaces the incumbent: %s", best, summary)
        return won_by(best)
    log.info("the incumbent stays; %s is not better beyond chance: %s", best, summary)
    return won_by(incumbent)
