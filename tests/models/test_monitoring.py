"""Readings of a model in use, worked by hand for four customers."""

from datetime import date

import pytest
from shop_events import at, events, sign

from clm_spark import files
from clm_spark.features.partials import update_customer_days
from clm_spark.jobs import monitor_models
from clm_spark.models.registry import Registry
from clm_spark.tables.catalog import (
    CUSTOMER_FEATURES,
    CUSTOMER_SCORES,
    FEATURE_DRIFT,
    MODEL_METRICS,
    MODEL_MONITORING,
)
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

TRAINED_ON, SCORED_ON, AS_OF = date(2024, 1, 1), date(2024, 4, 3), date(2024, 5, 1)
CHANCES = {"ann": 0.9, "ben": 0.6, "cid": 0.4, "dee": 0.1}  # to leave; ann and cid did
BOUGHT = {"ben": "2024-04-03", "dee": "2024-04-30", "cid": "2024-04-02"}  # cid on the eve of the horizon


def put(lake: Lake, table: Table, *cases: dict[str, object]) -> None:
    rows = [tuple(case.get(name) for name in table.schema.names) for case in cases]
    lake.replace(lake.spark.createDataFrame(rows, table.schema), into=table)


@pytest.fixture
def watched(new_lake):
    """A shop whose churn model is old, scored four customers four weeks ago, and has seen a feature drift."""
    lake = new_lake(as_of=AS_OF, churn={"horizon_days": 28}, monitoring={"min_customers": 4})
    bought = [
        {"customer_id": who, "kind": "purchase", "occurred_at": at(day), "amount_cents": 100}
        for who, day in BOUGHT.items()
    ]
    sign(lake, "b1", events(lake.spark, *bought))
    update_customer_days(lake, lake.settings)
    trained = Registry(lake.settings.model_copy(update={"as_of": TRAINED_ON}))
    version = trained.register(
        "churn", "gbt", "gbt-1", save=lambda path: files.write_text(f"{path}/model", "trees"), params={}, metrics={},
        inputs={}, metadata={},
    )  # fmt: skip
    trained.elect(version, from_on=TRAINED_ON)
    usual = {"score": "churn", "unit": "probability", "decile": 1, "model": "gbt", "model_version": "gbt-1"}
    scores = [
        {**usual, "customer_id": who, "as_of": day, "value": chance, "is_fallback": False}
        for who, chance in CHANCES.items()
        for day in (TRAINED_ON, SCORED_ON, AS_OF)
    ]
    base_rate = {**usual, "customer_id": "eve", "as_of": SCORED_ON, "value": 0.5, "is_fallback": True}
    put(lake, CUSTOMER_SCORES, *scores, base_rate)
    metric = {
        "task": "churn", "model": "gbt", "model_version": "gbt-1", "is_baseline": False, "is_incumbent": False,
        "is_champion": True, "metric": "auc", "num_tested": 9, "comparison": "c", "value": 0.85, "high": 0.9,
    }  # fmt: skip
    put(
        lake,
        MODEL_METRICS,
        {**metric, "as_of": TRAINED_ON, "low": 0.8},
        {**metric, "as_of": AS_OF, "low": 0.1},  # of a later comparison than the scores
    )
    drift = {"table_name": CUSTOMER_FEATURES.title, "as_of": AS_OF, "compared_with": SCORED_ON, "num_rows": 4,
             "num_rows_before": 4, "null_share": 0.0, "null_share_before": 0.0, "psi": 0.5}  # fmt: skip
    put(
        lake,
        FEATURE_DRIFT,
        {**drift, "feature": "recency_days", "has_drifted": True},
        {**drift, "feature": "num_orders", "has_drifted": False},
        {**drift, "feature": "num_reviews", "has_drifted": True},  # not one of the model's
    )
    return lake


def test_readings_of_a_model_in_use(watched: Lake):
    monitor_models.run(watched, watched.settings)
    found = {row.figure: row for row in watched.read_as_of(MODEL_MONITORING).collect()}
    assert {figure: round(row.value, 4) for figure, row in found.items()} == {
        "age_days": 121,
        "drifted_features_share": 0.5,
        "score_psi": 0,
        "realised_auc": 0.75,  # of four pairs, cid's chance is below ben's
        "realised_average_precision": 0.8333,  # (1 + 2 / 3) / 2
        "observed_per_expected": 1,  # two left, .9 + .6 + .4 + .1 were expected
    }
    assert {figure for figure, row in found.items() if row.is_beyond} == {
        "age_days",
        "drifted_features_share",
        "realised_auc",
    }
    # Nine customers moved the test's .85 down to .8; four move the figure of today, too.
    assert found["realised_auc"].low_limit == pytest.approx(0.85 - 0.05 * (1 + 9 / 4) ** 0.5)
    assert found["score_psi"].high_limit is None
    assert found["score_psi"].scored_on == TRAINED_ON
    assert {row.scored_on for figure, row in found.items() if "realised" in figure} == {SCORED_ON}
    assert {(row.model, row.model_version, row.task) for row in found.values()} == {("gbt", "gbt-1", "churn")}


def test_few_customers_pass_no_limit(watched: Lake):
    few = Lake(watched.spark, watched.settings.model_copy(update={"monitoring": type(watched.settings.monitoring)()}))
    monitor_models.run(few, few.settings)
    beyond = few.read_as_of(MODEL_MONITORING).where("is_beyond").collect()
    assert {row.figure for row in beyond} == {"age_days", "drifted_features_share"}


def test_without_a_model_there_is_nothing_to_watch(lake: Lake):
    monitor_models.run(lake, lake.settings)
    assert lake.read_as_of(MODEL_MONITORING).isEmpty()
