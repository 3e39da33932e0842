"""Partial aggregates of items: the measures of an item's day, in the version known on a later day."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.features.versions import with_superseded_on
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, ITEM_DAYS
from clm_spark.tables.measures import OF_CUSTOMERS

ITEM_DAY = ("item_id", "day_on")


def item_days_from_customers(customer_item_days: DataFrame) -> DataFrame:
    """One row per item, active day and day on which more of it became known, as gold.item_days declares.

    Needs every version of these items' days in gold.customer_item_days. Customers are counted by the id in their events:
    two ids later stitched to one person stay two. Guests count for what they buy, not as customers.
    """
    current = with_superseded_on(customer_item_days, CUSTOMER_ITEM_DAYS)
    busiest = F.when(F.col("num_events") > 0, F.struct("num_events", "customer_id", "category"))
    who = F.nullif(F.col("customer_id"), F.lit(GUEST))
    spans = current.groupBy(*ITEM_DAY, "known_on", "superseded_on").agg(
        *(F.expr(measure.sql).alias(measure.name) for measure in OF_CUSTOMERS),
        F.max(F.when(F.col("category").isNotNull(), busiest)).alias("busiest"),
        F.theta_sketch_agg(F.when(F.col("num_views") > 0, who)).alias("viewers"),
        F.theta_sketch_agg(F.when(F.col("num_lines") > 0, who)).alias("buyers"),
    )
    # From here on a row per span between two versions, not per customer.
    versions = F.collect_set("known_on").over(Window.partitionBy(*ITEM_DAY))
    counts = F.filter(
        "_versions",
        lambda version: (
            (version >= F.col("known_on")) & (F.col("superseded_on").isNull() | (version < F.col("superseded_on")))
        ),
    )
    versioned = spans.withColumn("_versions", versions).withColumn("known_on", F.explode(counts))
    return (
        versioned.groupBy(*ITEM_DAY, "known_on")
        .agg(
            F.max("busiest")["category"].alias("category"),
            *(F.sum(measure.name).alias(measure.name) for measure in OF_CUSTOMERS),
            *(F.theta_union_agg(name).alias(name) for name in ("viewers", "buyers")),
        )
        .select(ITEM_DAYS.schema.names)
    )
