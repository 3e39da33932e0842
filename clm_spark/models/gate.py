"""Who is served: the best by the deciding metric; an incumbent gives way only to what is better beyond chance."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.bootstrap import FEWEST_CUSTOMERS
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

    `incumbent` is the name under which it was compared; empty where there is none. The best of those candidates takes its
    place whose lower bound of the paired interval is above zero: the bounds hold for all candidates together. With fewer
    than `FEWEST_CUSTOMERS` tested it stays. Raises `TooLittleDataError` where `floors` beat all: nothing is to be learned.
    """
    deciding = [figure for figure in comparison.figures if figure.metric == metric]
    values = {figure.model: figure.value for figure in deciding}
    floor = max((values[name] for name in floors if name in values), default=float("-inf"))
    able = [name for name in entrants if name in values and values[name] > floor]
    others = [name for name in values if name != incumbent]
    leads = comparison.leads(others, incumbent) if incumbent else {}

    def won_by(winner: str) -> Election:
        behind = comparison.leads([name for name in values if name != winner], winner) if winner != incumbent else leads
        margins = {name: Lead(-lead.value, -lead.high, -lead.low) for name, lead in behind.items()}
        return Election(winner, leads, margins)

    if not able:
        log.warning("no entrant is better than chance, which has a %s of %.4f", metric, floor)
    if not incumbent:
        if not able:
            raise TooLittleDataError(f"no entrant can be served: none has a {metric} above {floor:.4f}, that of chance")
        return won_by(max(able, key=lambda name: values[name]))
    challengers = sorted((name for name in able if name != incumbent), key=lambda name: -values[name])
    num_tested = min((figure.num_tested for figure in deciding), default=0)
    if challengers and num_tested < FEWEST_CUSTOMERS:
        log.warning(
            "the incumbent stays: %d customers were tested, and with fewer than %d a lead cannot be told from chance",
            num_tested,
            FEWEST_CUSTOMERS,
        )
        return won_by(incumbent)
    for name in challengers:
        lead = leads[name]
        summary = f"{metric} {values[name]:.4f} against {values[incumbent]:.4f}, lead {lead.value:+.4f} ({lead.low:+.4f} to {lead.high:+.4f})"
        if lead.low > 0:
            log.info("%s replaces the incumbent: %s", name, summary)
            return won_by(name)
        log.info("%s is not better than the incumbent beyond chance: %s", name, summary)
    return won_by(incumbent)
