"""Where no model can be trained, the base rate of what is known is written, and said to be one."""

from datetime import date, timedelta

import pytest
from leaving_customers import leaving_customers, their_orders
from pyspark.sql import functions as F

from clm_spark.errors import NoModelInUseError, TooLittleDataError
from clm_spark.jobs import score_customers, train_churn
from clm_spark.models.registry import Registry
from clm_spark.tables import catalog as t

AS_OF, STEP = date(2024, 3, 1), timedelta(days=28)
DAYS = [AS_OF - STEP * back for back in range(4)]
SECTIONS = {
    "features": {"panel_every_days": 28, "panel_size": 4},
    "churn": {"horizon_days": 28},
    "evaluation": {
        "replicates": 50,
        "folds": 2,
        "leave_out": ["decision_tree", "random_forest"],
    },
}


@pytest.mark.parametrize(
    ("who_left", "positives"), [("nobody", 0), pytest.param("everybody", 90, marks=pytest.mark.long)]
)
def test_one_kind_of_customers_gives_a_base_rate(who_left, positives, new_lake, caplog):
    lake = new_lake(**SECTIONS)
    left = F.lit(who_left == "everybody")
    labelled = leaving_customers(lake.spark, days=DAYS, num_customers=30).withColumn("is_churned", left).persist()
    lake.replace(labelled.drop("is_churned"), into=t.CUSTOMER_FEATURES)
    lake.replace(their_orders(labelled.withColumn("is_churned", F.lit(False))).where(~left), into=t.CUSTOMER_DAYS)
    with pytest.raises(TooLittleDataError, match=f"it happened to {positives // 3} of 30 customers"):
        train_churn.run(lake, lake.settings)
    score_customers.run(lake, lake.settings)
    assert Registry(lake.settings).champion("churn", AS_OF) is None
    scores = lake.read(t.CUSTOMER_SCORES).collect()
    assert len(scores) == 30
    known = "base rate of 90 customers and days whose outcome is known"
    assert {(row.is_fallback, row.model, row.value, *row.reasons) for row in scores} == {
        (True, "base_rate", (positives + 1) / 92, f"{known}; no model is in use")
    }
    (line,) = lake.too_little
    assert line == f"no churn model is in use: everybody gets {(positives + 1) / 92:.3f}, the {known}"


def test_without_any_outcome_nothing_is_guessed(new_lake):
    lake = new_lake(**SECTIONS)
    labelled = leaving_customers(lake.spark, days=[AS_OF], num_customers=5)
    lake.replace(labelled.drop("is_churned"), into=t.CUSTOMER_FEATURES)
    lake.replace(their_orders(labelled), into=t.CUSTOMER_DAYS)
    with pytest.raises(NoModelInUseError, match="no churn model is in use on 2024-03-01"):
        score_customers.run(lake, lake.settings)
    assert not lake.exists(t.CUSTOMER_SCORES)
