"""The task on a small lake: every entrant is trained and tested, the winner serves, and thin shops get a base rate."""

from datetime import date, timedelta

import numpy as np
import pytest
from buyers import bought_days, customer_days, customer_features
from pyspark.sql import functions as F

from clm_spark.errors import NoModelInUseError, TooLittleDataError
from clm_spark.jobs import score_value, train_value
from clm_spark.models.registry import Registry
from clm_spark.models.value.task import SCORES
from clm_spark.tables import catalog as t

AS_OF, STEP = date(2024, 3, 1), timedelta(days=28)
MORNINGS = [AS_OF - STEP * back for back in range(3)]
SECTIONS = {
    "features": {"panel_every_days": 28, "panel_size": 3},
    "value": {"horizon_days": 28, "lifetime_days": 180, "margin": 0.5},
    "evaluation": {"replicates": 50},
}


def shop(new_lake, *, num, **sections):
    lake = new_lake(**SECTIONS | sections)
    bought = bought_days(num=num, until=AS_OF, days=250, seed=3)
    lake.replace(customer_days(lake.spark, bought), into=t.CUSTOMER_DAYS)
    lake.replace(customer_features(lake.spark, bought, MORNINGS), into=t.CUSTOMER_FEATURES)
    return lake


@pytest.mark.long
@pytest.mark.timeout(900)
def test_all_entrants_are_held_against_what_came_and_the_winner_serves(new_lake):
    lake = shop(new_lake, num=400)
    written = {}
    for _ in range(2):
        train_value.run(lake, lake.settings)
        score_value.run(lake, lake.settings)
        for table in (t.CUSTOMER_SCORES, t.MODEL_METRICS, t.SCORE_DECILES):
            rows = sorted(map(str, lake.read(table).collect()))
            assert written.setdefault(table.name, rows) == rows, "the second run leaves the same rows"
    figures = {(m.model, m.metric): m for m in lake.read(t.MODEL_METRICS).where("task = 'value'").collect()}
    models = {model for model, _ in figures}
    assert models == {"recent_revenue", "own_pace", "bg_nbd", "pareto_nbd", "two_stage"}
    assert {m.tested_on for m in figures.values()} == {MORNINGS[1]}
    skill = {model: figures[model, "squared_skill"].value for model in models}
    assert skill["bg_nbd"] > max(skill["recent_revenue"], skill["own_pace"]), "customers buy by its law"
    assert skill["bg_nbd"] > 0.05
    assert abs(skill["pareto_nbd"] - skill["bg_nbd"]) < 0.05, "two laws of the same customers"
    assert figures["bg_nbd", "interval_coverage"].value == pytest.approx(0.95, abs=0.03)
    assert not {("two_stage", "interval_coverage"), ("pareto_nbd", "interval_coverage")} & figures.keys()

    served = Registry(lake.settings).champion("value", AS_OF)
    assert served.model == max(skill, key=skill.get)
    scores = lake.read(t.CUSTOMER_SCORES).toPandas()
    assert {*scores.score} == {*SCORES}
    assert {*scores.model_version} == {served.version}
    buyers = lake.read_as_of(t.CUSTOMER_FEATURES).where("num_orders > 0").count()
    assert {*scores.groupby("score").size()} == {buyers}
    wide = scores.pivot_table(index="customer_id", columns="score", values="value")
    assert wide.probability_alive.between(0, 1).all()
    assert np.corrcoef(wide.value, wide.expected_orders)[0, 1] > 0.4
    assert (wide.lifetime_value < 0.5 * wide.expected_order_cents * 300).all()
    deciles = lake.read(t.SCORE_DECILES).where("score = 'value'").toPandas()
    assert len(deciles) == 50
    best = deciles[deciles.model == served.model].set_index("decile")
    assert best.mean_observed[1] > 2 * best.mean_observed[10]
    assert best.mean_probability.isna().all()


def test_a_young_shop_gets_a_base_rate_and_is_told_why(new_lake):
    lake = new_lake(**SECTIONS)
    bought = bought_days(num=20, until=AS_OF, days=20, seed=5)
    lake.replace(customer_days(lake.spark, bought), into=t.CUSTOMER_DAYS)
    lake.replace(customer_features(lake.spark, bought, [AS_OF]), into=t.CUSTOMER_FEATURES)
    with pytest.raises(TooLittleDataError, match="nobody had bought by a day whose 28 days to come have passed"):
        train_value.run(lake, lake.settings)
    score_value.run(lake, lake.settings)
    assert lake.too_little == ["no value model is in use: everybody gets the base rate of all buyers"]
    scores = lake.read(t.CUSTOMER_SCORES).collect()
    assert {row.customer_id for row in scores} == {*bought.customer_id}
    assert {(row.score, row.unit, row.is_fallback, row.model) for row in scores} == {
        ("value", "cents", True, "base_rate")
    }
    first = bought.groupby("customer_id").day_on.min().map(lambda day: (AS_OF - day).days)
    per_day = (bought.cents - bought.refund_cents).sum() / first.sum()
    assert len({row.value for row in scores}) == 1
    assert scores[0].value == pytest.approx(28 * per_day)


def test_nobody_who_bought_is_no_reason_to_fail(new_lake):
    lake = new_lake(**SECTIONS)
    bought = bought_days(num=5, until=AS_OF, days=20, seed=5)
    never = {name: F.lit(None).cast("bigint") for name in ("purchase_recency_days", "first_purchase_days")}
    looks = customer_features(lake.spark, bought, [AS_OF]).withColumns(never)
    lake.replace(looks, into=t.CUSTOMER_FEATURES)
    with pytest.raises(NoModelInUseError, match=r"read in its log why it elected none$"):
        score_value.run(lake, lake.settings)
    assert not lake.exists(t.CUSTOMER_SCORES)
