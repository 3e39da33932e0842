"""Cohorts: customers by the month of their first purchase, and what they did in each month since."""

import logging
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import known_persons
from clm_spark.features.partials import digest
from clm_spark.features.refresh import OF_CUSTOMER_DAYS, valid_days
from clm_spark.features.versions import KEY, of_persons, seen_days
from clm_spark.tables.catalog import COHORTS, CUSTOMER_DAYS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)

RULES = 1  # raised with every change of what is counted


def update_cohorts(lake: Lake) -> None:
    """Write the cohorts as of the first of as_of's month, whose months are all over, unless they are up to date."""
    month = lake.settings.as_of.replace(day=1)
    made_with = digest(RULES)
    if month in valid_days(lake, [month], COHORTS, made_of=OF_CUSTOMER_DAYS, made_with=made_with):
        log.info("the cohorts as of %s are up to date", month)
        return
    persons = known_persons(lake, [month])
    seen = of_persons(seen_days(lake.read(CUSTOMER_DAYS), [month], CUSTOMER_DAYS), persons, CUSTOMER_DAYS)
    lake.replace(cohorts(seen, as_of=month), into=COHORTS, is_key_proven=True, made_with=made_with, as_of=[month])


def cohorts(customer_days: DataFrame, *, as_of: date) -> DataFrame:
    """One row per month of first purchase and month since, as gold.cohorts declares.

    `customer_days` has one row per customer and day; `as_of` is the first of a month. A month in which nobody of a cohort
    did anything is a row of zeros.
    """
    month = F.trunc("day_on", "month")
    per_month = customer_days.groupBy(KEY, month.alias("month_on")).agg(
        F.sum("num_orders").alias("num_orders"),
        F.sum(F.col("revenue_cents") - F.col("refund_cents")).alias("net_revenue_cents"),
    )
    first = F.min(F.when(F.col("num_orders") > 0, F.col("month_on"))).over(Window.partitionBy(KEY))
    since_first = per_month.withColumn("cohort_on", first).where(F.col("month_on") >= F.col("cohort_on"))
    did = since_first.groupBy("cohort_on", "month_on").agg(
        F.count_if(F.col("num_orders") > 0).alias("num_active"),
        F.sum("num_orders").alias("num_orders"),
        F.sum("net_revenue_cents").alias("net_revenue_cents"),
    )
    last_month = F.add_months(F.lit(as_of), -1)
    months = F.sequence("cohort_on", last_month, F.expr("INTERVAL 1 MONTH"))
    # All of a cohort bought in its first month, which is over.
    is_size = (F.col("month_on") == F.col("cohort_on")) & (F.col("cohort_on") <= last_month)
    every = did.where(is_size).select(
        "cohort_on", F.col("num_active").alias("num_customers"), F.explode(months).alias("month_on")
    )
    rows = every.join(did, on=["cohort_on", "month_on"], how="left")
    nothing = {name: F.coalesce(name, F.lit(0)) for name in ("num_active", "num_orders", "net_revenue_cents")}
    derived = {
        "as_of": F.lit(as_of),
        "months_since": F.months_between("month_on", "cohort_on").cast("int"),
        "retention": F.col("num_active") / F.col("num_customers"),
    }
    return rows.withColumns(nothing).withColumns(derived).select(COHORTS.schema.names)
