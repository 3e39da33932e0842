from datetime import date

from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from clm_spark.models.calibration import PROBABILITY
from clm_spark.models.classifier import LABEL
from clm_spark.models.customer_inputs import FEATURES
from clm_spark.models.trees import DecisionTree


def test_a_single_tree_tells_customers_apart_where_few_leave(spark, new_lake):
    """Of the long silent 20 % leave, of the others 2 %: no leaf has more leavers than others."""
    lake = new_lake(evaluation={"folds": 2})
    silent = F.col("id") % 4 == 0
    leaves = F.when(silent, F.col("id") % 20 == 0).otherwise(F.col("id") % 51 == 0)
    days = F.when(silent, 60).otherwise(5).cast("bigint").alias("purchase_recency_days")
    others = [F.lit(1.0).alias(name) for name in FEATURES if name != "purchase_recency_days"]
    who = [F.col("id").cast("string").alias("customer_id"), F.lit(date(2024, 1, 5)).alias("as_of")]
    rows = spark.range(2000).select(*who, leaves.cast("double").alias(LABEL), days, *others)
    scored = DecisionTree().fitted(rows, lake.settings).transform(rows)
    of_group = scored.groupBy("purchase_recency_days").agg(
        F.avg(vector_to_array(F.col(PROBABILITY))[1]).alias("told"), F.avg(LABEL).alias("came")
    )
    found = {row.purchase_recency_days: (round(row.told, 2), round(row.came, 2)) for row in of_group.collect()}
    assert found == {60: (0.2, 0.2), 5: (0.02, 0.02)}
