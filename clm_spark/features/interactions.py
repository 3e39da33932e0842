"""Interactions of customers with items, as recommenders train on them."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import with_person
from clm_spark.features.items import of_named_customers
from clm_spark.features.versions import seen_days
from clm_spark.features.vocabulary import num_taken
from clm_spark.settings.features import ItemKind
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, INTERACTIONS

BUCKETS = 1024


def interactions(
    customer_item_days: DataFrame,
    vocabulary: DataFrame,
    persons: DataFrame | None = None,
    *,
    days: Sequence[date],
    strengths: Mapping[ItemKind, float],
) -> DataFrame:
    """One row per customer, indexed item and as_of, as gold.interactions declares.

    Needs every version of gold.customer_item_days. `persons` maps ids to the person known on each of `days`. Whole
    numbers are summed, and weighted after: the strength does not depend on the order of adding.
    """
    seen = with_person(seen_days(of_named_customers(customer_item_days), days, CUSTOMER_ITEM_DAYS), persons)
    weighted = (F.sum(num_taken([kind])) * F.lit(strengths[kind]) for kind in sorted(strengths))
    pairs = seen.groupBy("customer_id", "item_id", "as_of").agg(
        F.sum(num_taken(strengths)).alias("num_events"),
        reduce(Column.__add__, weighted).alias("strength"),
        F.max(last_of(*strengths)).alias("last_at"),
    )
    taken = pairs.where(F.col("num_events") > 0)
    indexed = taken.join(vocabulary.select("item_id", "as_of", "item_index"), on=["item_id", "as_of"], how="inner")
    customers = with_dense_index(indexed.select("customer_id", "as_of").distinct())
    return indexed.join(customers, on=["customer_id", "as_of"], how="inner").select(INTERACTIONS.schema.names)


def with_dense_index(customers: DataFrame) -> DataFrame:
    """Add `customer_index`: 0, 1, ... within each as_of, the same whatever the partitioning.

    Counted within hash buckets and shifted by the sizes of the buckets before, so that no task sees all customers.
    """
    bucketed = customers.withColumn("_bucket", F.pmod(F.xxhash64("customer_id"), F.lit(BUCKETS)))
    inside = Window.partitionBy("as_of", "_bucket").orderBy("customer_id")
    before = Window.partitionBy("as_of").orderBy("_bucket").rowsBetween(Window.unboundedPreceding, -1)
    sizes = bucketed.groupBy("as_of", "_bucket").agg(F.count("*").alias("_size"))
    shifts = sizes.select("as_of", "_bucket", F.coalesce(F.sum("_size").over(before), F.lit(0)).alias("_shift"))
    placed = bucketed.withColumn("_place", F.row_number().over(inside) - 1)
    shifted = placed.join(F.broadcast(shifts), on=["as_of", "_bucket"], how="inner")
    index = (F.col("_shift") + F.col("_place")).cast("int")
    return shifted.select(*customers.columns, index.alias("customer_index"))


def last_of(*kinds: str) -> Column:
    """The last event of these kinds on a row of gold.customer_item_days; null where there is none."""
    return F.array_max(F.array(*(F.col(f"last_{kind}_at") for kind in kinds)))
