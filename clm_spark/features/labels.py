"""Labels: what customers did from an as_of on. The only place that looks ahead of it."""

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.events.identity import with_person
from clm_spark.features.panel import panel_days


def answered_days(settings: Settings) -> list[date]:
    """The days of the panel on which everybody's churn is known by the run's as_of, latest first."""
    horizon = timedelta(days=settings.churn.horizon_days)
    return [day for day in panel_days(settings) if day + horizon <= settings.as_of]


def with_churn_label(
    features: DataFrame, customer_days: DataFrame, persons: DataFrame | None = None, *, horizon_days: int
) -> DataFrame:
    """Add `is_churned`: whether the customer ordered nothing in the `horizon_days` from as_of on.

    `customer_days` is one version of each day, as the run's own as_of sees it, and `persons` are those it knows. The
    caller keeps to those as_of whose horizon has ended by then: a day yet to come has no orders either.
    """
    # An order under a login that was linked only later is an order of the visitor's all the same.
    asked = features.select("customer_id", "as_of", F.col("customer_id").alias("_asked"))
    asked = with_person(asked.withColumnRenamed("as_of", "_on"), persons)
    days = customer_days.where(F.col("num_orders") > 0).select("customer_id", "day_on")
    ordered = with_person(days, persons)
    in_horizon = (F.col("day_on") >= F.col("_on")) & (F.col("day_on") < F.date_add("_on", horizon_days))
    stayed = asked.join(ordered, on="customer_id", how="inner").where(in_horizon)
    named = stayed.select(F.col("_asked").alias("customer_id"), F.col("_on").alias("as_of")).distinct()
    marked = features.join(named.withColumn("_stayed", F.lit(True)), on=["customer_id", "as_of"], how="left")
    return marked.withColumn("is_churned", F.col("_stayed").isNull()).drop("_stayed")


def bought_items(events: DataFrame, *, since: date) -> DataFrame:
    """One row per customer and item bought from `since` on: what a recommender should have shown that morning."""
    bought = (F.col("kind") == "purchase") & F.col("item_id").isNotNull() & (F.col("occurred_at") >= F.lit(since))
    return events.where(bought).select("customer_id", "item_id").distinct()
