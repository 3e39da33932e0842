from datetime import date

import pytest
from leaving_customers import leaving_customers
from pyspark.sql import functions as F

from clm_spark.errors import ModelError
from clm_spark.evaluation.trials import last_answered_day, try_churn
from clm_spark.models.churn import load_churn, score_churn, with_probability_decile
from clm_spark.settings import ChurnSettings

DAYS = [date(2024, 2, 2), date(2024, 1, 5), date(2023, 12, 8)]
SMALL = {"max_iterations": 12, "max_depth": 3, "step_size": 0.2, "feature_share": 1.0, "min_leaf_customers": 5}
ASKED = ChurnSettings(horizon_days=28, **SMALL)


def test_trees_find_the_law_that_the_rules_miss(spark, new_lake, tmp_path):
    labelled = leaving_customers(spark, days=DAYS).persist()
    settings = new_lake(churn={"horizon_days": 28, **SMALL}).settings
    trial = try_churn(labelled, settings=settings, in_use=None)
    assert trial.tested_on == DAYS[0]
    auc = {f.model: f.value for f in trial.figures if f.metric == "auc"}
    assert auc["gbt"] > 0.9
    assert auc["gbt"] > auc["recency_rule"] + 0.05
    assert auc["orders_rule"] < 0.6
    assert trial.is_won()

    trial.save(f"file://{tmp_path}")
    today = leaving_customers(spark, days=[date(2024, 3, 1)])
    scored = with_probability_decile(score_churn(load_churn(f"file://{tmp_path}"), today)).join(
        today.select("customer_id", "is_churned", "overdue_ratio"), on="customer_id", how="inner"
    )
    found = scored.agg(
        F.avg("probability").alias("promised"),
        F.avg(F.col("is_churned").cast("double")).alias("came"),
        F.avg(F.when(F.col("decile") == 1, F.col("is_churned").cast("double"))).alias("in_the_first"),
        F.avg(F.when(F.col("decile") == 10, F.col("is_churned").cast("double"))).alias("in_the_last"),
    ).head()
    assert found.promised == pytest.approx(found.came, abs=0.06), "calibrated"
    assert found.in_the_first > 0.85
    assert found.in_the_last < 0.15


def test_deciles_are_tenths_in_the_order_of_the_probability(spark):
    rows = [(f"c{i}", date(2024, 3, 1), [0.2, 0.200001, 0.9, 0.0, 1.0][i % 5]) for i in range(100)]
    scored = spark.createDataFrame(rows, "customer_id string, as_of date, probability double")
    found = with_probability_decile(scored).groupBy("decile").agg(
        F.count("*").alias("n"), F.min("probability").alias("least"), F.max("probability").alias("most")
    )  # fmt: skip
    by_decile = [tuple(row) for row in found.orderBy("decile").collect()]
    pairs = [1.0, 1.0, 0.9, 0.9, 0.200001, 0.200001, 0.2, 0.2, 0.0, 0.0]
    assert by_decile == [(decile, 10, p, p) for decile, p in enumerate(pairs, start=1)]


def test_too_little_to_learn_from_is_said(spark):
    one_day = leaving_customers(spark, days=DAYS[:1], num_customers=40)
    with pytest.raises(ModelError, match=r"up to 2024-01-05, 0 of 0 customers left within 28 days"):
        last_answered_day(one_day, ASKED)
    with pytest.raises(ModelError, match=r"0 of 0 customers left"):
        last_answered_day(one_day.where("false"), ASKED)
    assert last_answered_day(one_day.union(leaving_customers(spark, days=DAYS[1:])), ASKED) == DAYS[0]
