"""Purchase histories: gold.customer_features as the laws of purchases read them, and the same counted.

A purchase is a day with an order. Times are in weeks, in steps of a day; amounts are net of refunds.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.models.value.fit import COUNT

DAYS_A_WEEK = 7.0
FEATURES = (
    "num_purchase_days",
    "first_purchase_days",
    "purchase_recency_days",
    "net_revenue_cents",
    "num_orders_30d",
    "num_orders_60d",
)
HISTORY = ("repeats", "last_weeks", "age_weeks")
SPEND = ("orders", "mean_cents")


def purchase_histories(features: DataFrame, *further: Column) -> DataFrame:
    """One row per customer who has bought: `customer_id`, `as_of`, `further`, and the columns of HISTORY and of SPEND.

    `repeats` are purchase days after the first; `last_weeks` is the time from the first purchase day to the last,
    `age_weeks` that from the first to as_of. `mean_cents` is the net revenue of a purchase day, 0 where refunds eat it up.
    """
    days = F.col("num_purchase_days").cast("double")
    asked = {
        "repeats": days - 1,
        "last_weeks": (F.col("first_purchase_days") - F.col("purchase_recency_days")) / DAYS_A_WEEK,
        "age_weeks": F.col("first_purchase_days") / DAYS_A_WEEK,
        "orders": days,
        "mean_cents": F.greatest(F.col("net_revenue_cents") / days, F.lit(0.0)),
    }
    bought = features.where("purchase_recency_days IS NOT NULL")
    named: list[Column] = [column.alias(name) for name, column in asked.items()]
    return bought.select("customer_id", "as_of", *further, *named)


def counted(histories: DataFrame, *columns: str) -> DataFrame:
    """One row per distinct value of `columns`, with `num_customers`, a double, last: what a likelihood is summed over."""
    rows = histories.groupBy(*columns).agg(F.count("*").cast("double").alias(COUNT))
    return rows.sortWithinPartitions(*columns)  # grouped rows are placed by hash, and come in any order
