"""Partial aggregates: what happened to an item on a day, as we knew it on a later day."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.features.versions import with_superseded_on
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, ITEM_DAYS
from clm_spark.tables.measures import OF_CUSTOMERS

ITEM_DAY = ("item_id", "day_on")


def item_days_from_customers(customer_item_days: DataFrame) -> DataFrame:
    """One row per item, active day and day on which we learned more of it, as gold.item_days declares.

    Needs every version of these items' days in gold.customer_item_days. Customers are counted by the id in their events:
    who turns out later to be one person stays two.
    """
    versions = F.collect_set("known_on").over(Window.partitionBy(*ITEM_DAY))
    # A customer's version counts in every version of the item's day until the customer's next one.
    counts = F.filter(
        "_versions",
        lambda version: (
            (version >= F.col("known_on")) & (F.col("superseded_on").isNull() | (version < F.col("superseded_on")))
        ),
    )
    current = with_superseded_on(customer_item_days.repartition("item_id"), CUSTOMER_ITEM_DAYS)
    versioned = current.withColumn("_versions", versions).withColumn("known_on", F.explode(counts))
    return (
        versioned.groupBy(*ITEM_DAY, "known_on")
        .agg(
            F.max_by("category", F.when(F.col("category").isNotNull(), F.struct("num_events", "customer_id"))).alias(
                "category"
            ),
            *(F.expr(measure.sql).alias(measure.name) for measure in OF_CUSTOMERS),
            F.theta_sketch_agg(F.when(F.col("num_views") > 0, F.col("customer_id"))).alias("viewers"),
            F.theta_sketch_agg(F.when(F.col("num_lines") > 0, F.col("customer_id"))).alias("buyers"),
        )
        .select(ITEM_DAYS.schema.names)
    )
