"""Customer features: what we know about each customer on the morning of a day."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.features.customer_days import with_superseded_on
from clm_spark.features.panel import at_each
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES, WINDOW_DAYS


def customer_features(customer_days: DataFrame, *, days: Sequence[date], persons: DataFrame | None = None) -> DataFrame:
    """One row per customer and as_of in `days`, as gold.customer_features declares.

    Needs every version of gold.customer_days. A customer appears from the day after the first event known. `persons`
    says whose an id was known to be on each of `days`; the partials stay the id's, so that no earlier as_of moves.
    """
    ages = _by_person(_known_days(customer_days, days), persons)
    totals = ages.groupBy("customer_id", "as_of").agg(
        F.max("age_days").alias("tenure_days"),
        F.min("age_days").alias("recency_days"),
        F.min(_bought("age_days")).alias("purchase_recency_days"),
        F.max(_bought("age_days")).alias("_first_purchase_days"),
        F.count(_bought("age_days")).alias("num_purchase_days"),
        F.sum("num_orders").alias("num_orders"),
        F.sum(_net_revenue()).alias("net_revenue_cents"),
        F.sum("revenue_cents").alias("_revenue_cents"),
        _sum_within("num_orders", 60).alias("_num_orders_60d"),
        *(column for window in WINDOW_DAYS for column in _window(window)),
    )
    derived = {
        "mean_order_cents": F.try_divide("_revenue_cents", "num_orders"),
        "mean_gap_days": F.try_divide(
            F.col("_first_purchase_days") - F.col("purchase_recency_days"), F.col("num_purchase_days") - 1
        ),
        "orders_trend": (F.col("num_orders_30d") + 1) / (F.col("_num_orders_60d") - F.col("num_orders_30d") + 1),
    }
    features = totals.withColumns(derived)
    overdue = F.try_divide("purchase_recency_days", "mean_gap_days")
    return features.withColumn("overdue_ratio", overdue).select(CUSTOMER_FEATURES.schema.names)


def _known_days(customer_days: DataFrame, days: Sequence[date]) -> DataFrame:
    """The version of each customer-day that an as_of could see, with `age_days`: 1 is the day before as_of."""
    seen = at_each(with_superseded_on(customer_days), days)
    was_known = F.col("known_on") < F.col("as_of")
    was_latest = F.col("superseded_on").isNull() | (F.col("as_of") <= F.col("superseded_on"))
    is_left = F.col("num_events") > 0  # none: a bot's day, once it was known for one
    past = seen.where((F.col("day_on") < F.col("as_of")) & was_known & was_latest & is_left)
    return past.withColumn("age_days", F.date_diff("as_of", "day_on").cast("bigint"))


def _by_person(ages: DataFrame, persons: DataFrame | None) -> DataFrame:
    """A day's partials under several ids of a person as one; those of whom only one id is known are not moved."""
    if persons is None:
        return ages
    named = persons.select(F.col("person_id").alias("id"), "as_of", "person_id").distinct()
    ids = persons.unionByName(named).withColumnRenamed("id", "customer_id")
    key = ["customer_id", "as_of"]
    alone = ages.join(ids, on=key, how="left_anti")
    theirs = ages.join(ids, on=key, how="inner").withColumn("customer_id", F.col("person_id"))
    figures = [name for name in CUSTOMER_DAYS.schema.names if name not in CUSTOMER_DAYS.key]
    summed = theirs.groupBy(*key, "day_on", "age_days").agg(*(F.sum(name).alias(name) for name in figures))
    return summed.unionByName(alone.select(summed.columns))


def _window(days: int) -> list[Column]:
    last = f"{days}d"
    discount = _sum_within("discount_cents", days)
    return [
        F.count_if(F.col("age_days") <= days).alias(f"num_active_days_{last}"),
        *(
            _sum_within(name, days).alias(f"{name}_{last}")
            for name in (
                "num_visits",
                "num_views",
                "num_carts",
                "num_orders",
                "num_lines",
                "num_campaigns",
                "num_coupons",
            )
        ),
        F.sum(F.when(F.col("age_days") <= days, _net_revenue()).otherwise(0)).alias(f"net_revenue_{last}_cents"),
        F.try_divide(discount, discount + _sum_within("revenue_cents", days)).alias(f"discount_{last}_share"),
    ]


def _sum_within(column: str, days: int) -> Column:
    return F.sum(F.when(F.col("age_days") <= days, F.col(column)).otherwise(0))


def _bought(column: str) -> Column:
    return F.when(F.col("num_orders") > 0, F.col(column))


def _net_revenue() -> Column:
    return F.col("revenue_cents") - F.col("refund_cents")
