"""Guests: who buys without naming themselves. Their events are of no customer."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.privacy.pseudonyms import GUEST


def drop_guests(events: DataFrame) -> DataFrame:
    """The events of customers."""
    return events.where(F.col("customer_id").isNotNull())


def with_guests_as_one(events: DataFrame) -> DataFrame:
    """The events with `GUEST` as the customer of those that have none."""
    return events.withColumn("customer_id", F.coalesce("customer_id", F.lit(GUEST)))
