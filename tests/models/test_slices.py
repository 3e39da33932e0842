from datetime import date

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from clm_spark.models.churn import Churn
from clm_spark.models.slices import tenure_groups, value_groups
from clm_spark.models.task import Inputs, Split
from clm_spark.tables.catalog import SCORE_DECILES, SLICE_METRICS

NUM, NUM_FEW, TESTED_ON = 300, 8, date(2024, 2, 2)


def test_groups_are_by_limits_of_tenure_and_thirds_of_value():
    days = pd.Series([1, 89, 90, 364, 365, 900])
    young, settled, old = "under 90 days", "90 to 364 days", "365 days and more"
    assert list(tenure_groups(days)) == [young, young, settled, settled, old, old]
    thirds = value_groups(pd.Series([-5, 0, 10, 20, 30, 40]))
    assert list(thirds) == [f"{name} third" for name in ("lowest", "lowest", "middle", "middle", "highest", "highest")]
    assert set(value_groups(pd.Series([7, 7, 7]))) == {"all alike"}


def test_the_winner_is_measured_by_group_and_the_worst_is_named(spark, new_lake, caplog):
    lake, random = new_lake(evaluation={"replicates": 50}), np.random.default_rng(4)
    told = pd.DataFrame(
        {
            "customer_id": [f"c{n:03d}" for n in range(NUM)],
            "is_positive": random.random(NUM) < 0.4,
            "tenure_days": np.where(np.arange(NUM) % 2, 30, 400),
            "net_revenue_90d_cents": random.integers(0, 100_000, NUM),
            "rfm_cell": np.where(np.arange(NUM) % 3, "loyal_customers", "lost"),
        }
    )
    few = told.index < NUM_FEW
    told.loc[few, "rfm_cell"] = "champions"
    told.loc[few, "is_positive"] = told.index[few] % 2 == 0
    # It knows those who have been here for a year, and guesses on the others.
    knows = np.where(told.tenure_days > 90, told.is_positive * 0.4 + 0.3, 0.5)
    told["value"] = np.clip(knows + random.normal(0, 0.15, NUM), 0.01, 0.99)
    told.loc[few, "value"] = np.where(told.is_positive[few], 0.1, 0.9)  # all wrong, and too few to be named
    truth = spark.createDataFrame(told.drop(columns="value"))
    inputs = Inputs(lake, TESTED_ON, truth)
    split = Split(inputs, inputs, truth, inputs, TESTED_ON, "made up")
    scores = told[["customer_id", "value"]]
    answers = {name: spark.createDataFrame(scores.assign(value=values)) for name, values in
               (("good", told.value), ("guess", random.permutation(told.value)))}  # fmt: skip
    comparison = Churn().compare(answers, split)
    figures = {(figure.model, figure.metric): figure for figure in comparison.figures}
    assert figures["good", "auc"].value == pytest.approx(roc_auc_score(told.is_positive, told.value))
    assert all(figure.low <= figure.value <= figure.high for name, figure in figures.items() if name[1] == "auc")
    assert {metric for _, metric in figures} == set(Churn.metrics)
    assert [table for table, _ in comparison.reports()] == [SCORE_DECILES]

    with caplog.at_level("INFO"):
        ((table, rows),) = comparison.reports_on("good")
    assert table == SLICE_METRICS
    found = {(row.customers, row.metric): row for row in rows.collect()}
    groups = {"365 days and more": told.tenure_days == 400, "under 90 days": told.tenure_days == 30}
    for name, is_theirs in groups.items():
        own = told[is_theirs]
        assert found[name, "auc"].value == pytest.approx(roc_auc_score(own.is_positive, own.value))
        expected = average_precision_score(own.is_positive, own.value)
        assert found[name, "average_precision"].value == pytest.approx(expected)
        assert found[name, "auc"].num_tested == 150
        assert found[name, "auc"].low < found[name, "auc"].value < found[name, "auc"].high
    assert {row.customers for row in found.values() if row.is_worst} == {"under 90 days"}
    assert {row.slice for row in found.values()} == {"tenure", "value_tier", "segment"}
    segments = {row.customers for row in found.values() if row.slice == "segment"}
    assert segments == {"loyal customers", "lost", "champions"}
    # Lower, and too few for that to mean something.
    assert found["champions", "auc"].value == 0 < found["under 90 days", "auc"].value
    assert {(row.score, row.model) for row in found.values()} == {("churn", "good")}
    assert "churn: good does worst for tenure under 90 days: AUC 0." in caplog.text
