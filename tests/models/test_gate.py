import pytest

from clm_spark.errors import TooLittleDataError
from clm_spark.models.gate import INCUMBENT, elect
from clm_spark.models.task import Comparison, Figure, Lead


class Made(Comparison):
    """A comparison whose paired differences are as wide as a case says: all alike, or each its own."""

    def __init__(self, values, spread, num_tested=20):
        self.figures = tuple(Figure(model, "auc", value, num_tested) for model, value in values.items())
        self._values, self._spread = values, spread

    def leads(self, of, over):
        def lead(name):
            difference = self._values[name] - self._values[over]
            spread = self._spread[name] if isinstance(self._spread, dict) else self._spread
            return Lead(difference, difference - spread, difference + spread)

        return {name: lead(name) for name in of}


CASES = [  # name, values, half width of the interval, incumbent, who is served
    ("first comparison: the best", {"rule": 0.7, "trees": 0.8}, 0.2, "", "trees"),
    ("first comparison: a rule may win", {"rule": 0.8, "trees": 0.7}, 0.0, "", "rule"),
    ("first comparison: the earlier where they tie", {"rule": 0.8, "trees": 0.8}, 0.0, "", "rule"),
    ("ahead beyond chance", {"rule": 0.7, "trees": 0.9, INCUMBENT: 0.8}, 0.09, INCUMBENT, "trees"),
    ("ahead, but not beyond chance", {"rule": 0.7, "trees": 0.9, INCUMBENT: 0.8}, 0.11, INCUMBENT, INCUMBENT),
    ("a tie keeps what is in use", {"rule": 0.7, "trees": 0.8, INCUMBENT: 0.8}, 0.0, INCUMBENT, INCUMBENT),
    ("behind", {"rule": 0.7, "trees": 0.75, INCUMBENT: 0.8}, 0.0, INCUMBENT, INCUMBENT),
    ("a rule in use stays", {"rule": 0.8, "trees": 0.82}, 0.05, "rule", "rule"),
    ("a rule in use gives way", {"rule": 0.8, "trees": 0.9}, 0.05, "rule", "trees"),
    ("the best of those beyond chance", {"rule": 0.84, "trees": 0.85, INCUMBENT: 0.8}, {"rule": 0.01, "trees": 0.2}, INCUMBENT, "rule"),
    ("no better than chance keeps what is in use", {"chance": 0.9, "trees": 0.8, INCUMBENT: 0.7}, 0, INCUMBENT, INCUMBENT),
]  # fmt: skip


@pytest.mark.parametrize(("values", "spread", "incumbent", "served"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_who_is_served(values, spread, incumbent, served):
    asked = {"metric": "auc", "entrants": ["rule", "trees"], "floors": ["chance"], "incumbent": incumbent}
    if isinstance(spread, dict):
        spread = dict.fromkeys(values, 0) | spread
    election = elect(Made(values, spread), **asked)
    assert election.winner == served
    few = elect(Made(values, spread, num_tested=19), **asked)
    assert few.winner == (incumbent or served), "of so few nothing is told from chance"
    assert set(election.leads) == (set(values) - {incumbent} if incumbent else set())
    margins = {name: round(lead.value, 9) for name, lead in election.margins.items()}
    assert margins == {name: round(values[served] - value, 9) for name, value in values.items() if name != served}


def test_nothing_is_served_that_is_no_better_than_chance():
    with pytest.raises(TooLittleDataError, match=r"none has a auc above 0\.9000"):
        elect(Made({"chance": 0.9, "trees": 0.8}, 0), metric="auc", entrants=["trees"], floors=["chance"])
    with pytest.raises(TooLittleDataError, match="no entrant can be served"):
        elect(Made({}, 0), metric="auc", entrants=["trees"])
