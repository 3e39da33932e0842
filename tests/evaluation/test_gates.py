import pytest
from pyspark.sql import Row

from clm_spark.evaluation.gates import Trial

CASES = [
    ("beats all", {"new": 0.8, "rule": 0.7, "in_use": 0.75}, True),
    ("ties with what it replaces", {"new": 0.8, "rule": 0.7, "in_use": 0.8}, True),
    ("ties with the rule", {"new": 0.7, "rule": 0.7}, False),
    ("loses to what it replaces", {"new": 0.8, "rule": 0.7, "in_use": 0.81}, False),
    ("loses to a rival that is only reported", {"new": 0.8, "rule": 0.7, "other": 0.9}, True),
    ("was not tested", {"rule": 0.7}, False),
]


@pytest.mark.parametrize(("values", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_promotion(values, expected):
    trial = Trial(
        task="churn",
        candidate="new",
        baselines=("rule", "in_use"),
        must_beat=("rule", "in_use"),
        decided_by=("auc",),
        figures=[Row(model=m, metric="auc", value=v, num_tested=9) for m, v in values.items()],
        tested_on=None,
        save=lambda path: None,
    )
    assert trial.is_won() is expected
