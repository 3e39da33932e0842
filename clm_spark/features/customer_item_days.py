"""Partial aggregates of pairs: a customer's day with an item, in the version known on a later day."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.bots import CUSTOMER_DAY
from clm_spark.events.clocks import available_on
from clm_spark.features.versions import with_every_version
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS
from clm_spark.tables.measures import NUM_OF_KIND, OF_ITEM

SUMS = tuple(measure.name for measure in OF_ITEM)
LAST = {f"last_{kind}_at": kind for kind in NUM_OF_KIND}


def customer_item_days_from_events(events: DataFrame) -> DataFrame:
    """One row per customer, item, active day and day on which more became known, as gold.customer_item_days declares.

    A version holds the customer's whole day, so that what was viewed together is known together. Events may have
    `flagged_on`: a version of that day or later is empty, and is left out where there is no earlier one.
    """
    dated = events.where(F.col("item_id").isNotNull()).withColumns(
        {"day_on": F.to_date("occurred_at"), "available_on": available_on()}
    )
    flag = [name for name in ("flagged_on",) if name in events.columns]
    named_at = F.when(F.col("category").isNotNull(), F.struct("occurred_at", "event_id", "category"))
    available = (
        dated.groupBy(*CUSTOMER_DAY, "item_id", "available_on", *flag)
        .agg(
            *(F.expr(measure.sql).alias(measure.name) for measure in OF_ITEM),
            *(F.max(F.when(F.col("kind") == kind, F.col("occurred_at"))).alias(name) for name, kind in LAST.items()),
            F.max(named_at).alias("named"),
        )
        .repartition(*CUSTOMER_DAY)
    )
    versioned = with_every_version(available, sums=SUMS, others=tuple(LAST))
    days = versioned.groupBy(*CUSTOMER_DAY, "known_on", "item_id").agg(
        *(F.sum(name).alias(name) for name in SUMS),
        *(F.max(name).alias(name) for name in LAST),
        F.max("named")["category"].alias("category"),
    )
    is_viewed = F.col("num_views") > 0
    num_viewed = F.count_if(is_viewed).over(Window.partitionBy(*CUSTOMER_DAY, "known_on"))
    others = F.when(is_viewed, num_viewed - 1).otherwise(0)
    return days.withColumn("num_co_views", others).select(CUSTOMER_ITEM_DAYS.schema.names)
