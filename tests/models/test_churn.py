from datetime import date

import mlflow
import pytest
from leaving_customers import leaving_customers
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.ranks import with_decile
from clm_spark.models.boosting import Xgboost
from clm_spark.models.churn import RecencyRule
from clm_spark.models.classification import last_answered_day
from clm_spark.models.classifier import LABEL
from clm_spark.models.linear import LoggedRegression
from clm_spark.models.task import Inputs
from clm_spark.models.trees import DecisionTree, Gbt, RandomForest

DAYS = [date(2024, 2, 2), date(2024, 1, 5), date(2023, 12, 8)]
GBT = {"max_iterations": 5, "max_depth": 3, "step_size": 0.4, "feature_share": 1.0, "min_leaf_customers": 5}
FOREST = {"num_trees": 8, "max_depth": 5, "feature_share": 1.0, "min_leaf_customers": 5}
XGBOOST = {"num_trees": 40, "max_depth": 3, "step_size": 0.3, "feature_share": 1.0, "min_leaf_weight": 1.0}
TODAY = date(2024, 3, 1)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_is_shipped_is_calibrated_on_rows_it_has_not_seen(spark, new_lake, tmp_path):
    # A feature that nobody has, and most others the same for all, as in a log without views or discounts.
    labelled = (
        leaving_customers(spark, days=DAYS).withColumn("discount_90d_share", F.lit(None).cast("double")).persist()
    )
    lake = new_lake(gbt=GBT, random_forest=FOREST, xgboost=XGBOOST, evaluation={"folds": 2})
    today = leaving_customers(spark, days=[TODAY]).persist()
    rows = labelled.withColumn(LABEL, F.col("is_churned").cast("double")).drop("is_churned")
    for model in (Gbt(), DecisionTree(), RandomForest(), Xgboost(), LoggedRegression(), RecencyRule()):
        path = f"file://{tmp_path}/{model.name}"
        model.fit(Inputs(lake, DAYS[0], rows), path)
        answers = model.score(path, Inputs(lake, TODAY, today.drop("is_churned"))).persist()
        some = today.orderBy("customer_id").limit(5).select(*model.features).toPandas().astype("float64")
        served = mlflow.pyfunc.load_model(path.removeprefix("file://")).predict(some)
        first = answers.orderBy("customer_id").limit(5).collect()
        assert list(served) == pytest.approx([row.value for row in first]), f"MLflow serves another {model.name}"
        came = F.col("is_churned").cast("double")
        found = with_decile(answers, score="value", within=["as_of"]).join(today, on="customer_id", how="inner").agg(
            F.avg("value").alias("promised"),
            F.avg(came).alias("came"),
            F.avg(F.when(F.col("decile") == 1, came)).alias("in_the_first"),
            F.avg(F.when(F.col("decile") == 10, came)).alias("in_the_last"),
        ).head()  # fmt: skip
        assert found.promised == pytest.approx(found.came, abs=0.06), model.name
        if model.name in ("gbt", "xgboost"):  # find the law; the others see a part of it
            assert found.in_the_first > 0.85
            assert found.in_the_last < 0.15


def test_too_little_to_train_on_is_said(spark):
    def labelled(days):
        rows = leaving_customers(spark, days=days, num_customers=40)
        return rows.withColumn(LABEL, F.col("is_churned").cast("double"))

    def last_day(rows):
        return last_answered_day(rows, task="churn", horizon_days=28)

    one_day = labelled(DAYS[:1])
    with pytest.raises(TooLittleDataError, match=r"up to 2024-01-05, it happened to 0 of 0 customers within 28 days"):
        last_day(one_day)
    with pytest.raises(TooLittleDataError, match=r"nobody can be asked on a day whose 28 days to come have passed"):
        last_day(one_day.where("false"))
    assert last_day(labelled(DAYS)) == DAYS[0]


def test_a_label_that_one_fold_alone_has_cannot_be_learned(spark, lake):
    rows = leaving_customers(spark, days=DAYS, num_customers=9)
    labelled = rows.withColumn(LABEL, (F.col("customer_id") == "c0003").cast("double"))
    with pytest.raises(TooLittleDataError, match="customers of label 1 are in 1 of the folds"):
        LoggedRegression().fitted(labelled, lake.settings)
