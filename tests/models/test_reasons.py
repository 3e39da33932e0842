from datetime import date

import pytest
from leaving_customers import leaving_customers
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from clm_spark.models.boosting import Xgboost
from clm_spark.models.churn import RecencyRule
from clm_spark.models.classifier import LABEL
from clm_spark.models.customer_inputs import FEATURES
from clm_spark.models.linear import LoggedRegression
from clm_spark.models.reasons import feature_words, with_reasons
from clm_spark.models.task import Inputs
from clm_spark.models.trees import DecisionTree, Gbt, RandomForest

DAYS = [date(2024, 2, 2), date(2024, 1, 5)]
TODAY = date(2024, 3, 1)
SECTIONS = {
    "xgboost": {"num_trees": 30, "max_depth": 3, "step_size": 0.3, "feature_share": 1.0, "min_leaf_weight": 1.0},
    "random_forest": {"num_trees": 10, "max_depth": 5},
    "gbt": {"max_iterations": 5, "max_depth": 3, "min_leaf_customers": 10},
    "evaluation": {"folds": 2},
}


def test_reasons_are_the_largest_contributions_in_words(spark):
    features = ("purchase_recency_days", "net_revenue_90d_cents", "discount_90d_share", "mean_gap_days")
    cases = [  # recency, revenue, discount, gap, contributions, the slope of the calibration, expected
        (45, 123456, 0.254, 7.25, [0.5, -2.0, 0.0, 0.1], 1.0,
         ["bought less refunded in the last 90 days: 1,234.56, makes leaving less likely",
          "days since the last purchase: 45, makes leaving more likely",
          "mean days between purchase days: 7.2, makes leaving more likely"]),
        (None, 0, 0.254, None, [0.0, 0.0, 1.5, -2.5], 1.0,
         ["mean days between purchase days: unknown, makes leaving less likely",
          "discount over list price of what was bought in the last 90 days: 25 %, makes leaving more likely"]),
        (3, 0, None, 2.0, [-1.0, 0.0, 0.0, 0.0], -1.0,
         ["days since the last purchase: 3, makes leaving more likely"]),
        (3, 0, None, 2.0, [0.0, 0.0, 0.0, 0.0], 1.0, []),
    ]  # fmt: skip
    names = ("purchase_recency_days bigint, net_revenue_90d_cents bigint, discount_90d_share double, "
             "mean_gap_days double, contributions array<double>, slope double, expected array<string>")  # fmt: skip
    rows = spark.createDataFrame(cases, names)
    for slope in (1.0, -1.0):
        of_slope = rows.where(F.col("slope") == slope)
        for row in with_reasons(of_slope, features=features, slope=slope, outcome="leaving").collect():
            assert row.reasons == row.expected


def test_every_feature_has_words():
    assert all(feature_words(name) and ";" not in feature_words(name) for name in FEATURES)
    assert feature_words("mean_gap_days") == "mean days between purchase days"


@pytest.mark.long
def test_contributions_sum_to_the_margin(spark, new_lake):
    lake = new_lake(**SECTIONS)
    labelled = leaving_customers(spark, days=DAYS).withColumn(LABEL, F.col("is_churned").cast("double"))
    rows, today = labelled.drop("is_churned").persist(), leaving_customers(spark, days=[TODAY]).persist()
    # Of the margins' spread. XGBoost computes in single precision.
    exact = (LoggedRegression(), RecencyRule(), DecisionTree(), RandomForest(), Gbt())
    for model, within in (*((model, 1e-9) for model in exact), (Xgboost(), 1e-6)):
        pipeline = model.fitted(rows, lake.settings)
        contributed = model.contributed(pipeline, today)
        assert len(contributed.head().contributions) == len(model.features)
        margin = vector_to_array(F.col("margin"))[0]
        rest = margin - F.aggregate("contributions", F.lit(0.0), lambda total, each: total + each)
        found = contributed.agg(
            F.min(rest).alias("low"), F.max(rest).alias("high"), F.stddev(margin).alias("spread")
        ).head()
        assert found.spread > 0.1, "margins differ"
        assert found.high - found.low < within * found.spread, f"{model.name}: what is left is the same for all"


@pytest.mark.long
def test_what_decides_is_named(spark, new_lake, tmp_path):
    lake = new_lake(**SECTIONS)
    labelled = leaving_customers(spark, days=DAYS).withColumn(LABEL, F.col("is_churned").cast("double"))
    today = leaving_customers(spark, days=[TODAY])
    model, path = Xgboost(), f"file://{tmp_path}/xgboost"
    model.fit(Inputs(lake, DAYS[0], labelled.drop("is_churned")), path)
    answers = model.explain(path, Inputs(lake, TODAY, today.drop("is_churned")), outcome="leaving")
    rows = answers.join(today.select("customer_id", "overdue_ratio"), on="customer_id", how="inner").collect()
    words = feature_words("overdue_ratio")
    assert all(1 <= len(row.reasons) <= 3 for row in rows)
    clear = [row for row in rows if not 1.5 < row.overdue_ratio < 3]
    named = [row for row in clear if row.reasons[0].startswith(words)]
    assert len(named) > 0.8 * len(clear), "the law is about the ratio"
    for row in named:
        way = "more" if row.overdue_ratio > 2 else "less"
        assert row.reasons[0] == f"{words}: {row.overdue_ratio:,.1f}, makes leaving {way} likely"
