"""Who takes part in a comparison."""

from datetime import date

import pytest

from clm_spark.errors import ModelError, TooLittleDataError
from clm_spark.models.contest import Contest
from clm_spark.models.recommendation import Recommendation
from clm_spark.models.recommender import RecommenderRule
from clm_spark.models.registry import ModelVersion, Registry
from clm_spark.models.task import Inputs, Split
from clm_spark.tables.lake import Lake

TESTED_ON, AS_OF = date(2024, 2, 2), date(2024, 3, 1)


class Answers(RecommenderRule):
    """Everybody gets the same item."""

    name = "answers"

    def lists(self, path, inputs, *, length):
        return inputs.rows.selectExpr("customer_id", "1 AS rank", "'a' AS item_id", "1D AS relevance", "'' AS reason")


class CannotAnswer(Answers):
    """A rule finds out what it knows when it is asked."""

    name = "cannot_answer"
    error: ModelError = TooLittleDataError("nothing was bought by then")

    def lists(self, path, inputs, *, length):
        raise self.error


class HasNoLibrary(CannotAnswer):
    name = "has_no_library"
    error = ModelError("torch is missing")


@pytest.fixture
def split(lake):
    rows = lake.spark.createDataFrame([("u",)], "customer_id string")
    past, now = Inputs(lake, TESTED_ON, rows), Inputs(lake, AS_OF, rows)
    return Split(past=past, test=past, truth=rows, now=now, tested_on=TESTED_ON, fingerprint="")


def contest(lake, split, *entrants, before=None):
    own = Lake(lake.spark, lake.settings)
    return Contest(own, Registry(own.settings), Recommendation(), split, [each() for each in entrants], before)


def test_who_cannot_answer_takes_no_part_and_the_others_do(lake, split):
    found = contest(lake, split, CannotAnswer, Answers, HasNoLibrary)
    ((name, rows),) = found.answers().items()
    assert (name, [row.item_id for row in rows.collect()], [*found.folders]) == ("answers", ["a"], ["answers"])
    assert found.lake.too_little == ["cannot_answer: nothing was bought by then"]
    assert found.lake.missing == ["has_no_library: torch is missing"]
    with pytest.raises(TooLittleDataError, match="none of cannot_answer could be trained"):
        contest(lake, split, CannotAnswer).answers()
    with pytest.raises(ModelError, match="none of cannot_answer, has_no_library could be trained"):
        contest(lake, split, CannotAnswer, HasNoLibrary).answers()


def test_an_incumbent_that_cannot_answer_is_not_compared(lake, split, monkeypatch, caplog):
    monkeypatch.setattr("clm_spark.models.contest.find_model", lambda task, name: CannotAnswer())
    monkeypatch.setattr("clm_spark.models.contest.reason_left_out", lambda model, settings: None)
    before = ModelVersion("recommendation", "cannot_answer", "cannot_answer-1", TESTED_ON, "nowhere", {})
    with caplog.at_level("WARNING"):
        found = contest(lake, split, Answers, before=before)
        assert found.incumbent is None
        assert [*found.answers()] == ["answers"]
    assert "cannot_answer-1 is not comparable, and has neither won nor lost: nothing was bought by then" in caplog.text
