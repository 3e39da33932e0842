"""What recommenders train on: interactions of customers with items, and each customer's items in order.

Events may have `flagged_on`: an as_of after that day leaves them out.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.bots import was_flagged
from clm_spark.events.clocks import available_on
from clm_spark.events.identity.persons import with_person
from clm_spark.features.panel import at_each
from clm_spark.features.versions import seen_days
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.settings.features import ItemKind
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, INTERACTIONS, ITEM_SEQUENCES, ITEM_VOCABULARY
from clm_spark.tables.measures import NUM_OF_KIND

BUCKETS = 1024


def item_vocabulary(
    events: DataFrame, *, days: Sequence[date], kinds: Sequence[str], min_item_events: int, max_items: int
) -> DataFrame:
    """One row per indexed item and as_of, as gold.item_vocabulary declares.

    An item gets its index on the day its `min_item_events`-th event becomes available, and keeps it: the vocabulary of
    an earlier as_of is the beginning of every later one, so a model can grow with it. For the same reason events still
    count that were flagged as a bot's only after an as_of had seen them.
    """
    dated = _of_items(events, kinds).withColumn("available_on", available_on())
    available = dated.where(~was_flagged(dated, by=F.col("available_on")))
    per_day = available.groupBy("item_id", "available_on").agg(
        F.count("*").alias("n"), F.max_by("category", F.struct("occurred_at", "event_id")).alias("category")
    )
    so_far = Window.partitionBy("item_id").orderBy("available_on").rowsBetween(Window.unboundedPreceding, 0)
    growing = per_day.withColumn("known", F.sum("n").over(so_far))
    frequent_on = F.min(F.when(F.col("known") >= min_item_events, F.col("available_on")))
    # One task sorts all items: bounded by what a recommender can hold at all, and max_items cuts there.
    first_come = Window.orderBy("frequent_on", "item_id")
    indexed = (
        growing.groupBy("item_id")
        .agg(frequent_on.alias("frequent_on"))
        .where(F.col("frequent_on").isNotNull())
        .withColumn("item_index", F.row_number().over(first_come))
        .where(F.col("item_index") <= max_items)
    )
    counted = (
        at_each(per_day, days)
        .where(F.col("available_on") < F.col("as_of"))
        .groupBy("item_id", "as_of")
        .agg(F.sum("n").alias("num_events"), F.max_by("category", "available_on").alias("category"))
    )
    known = counted.join(indexed, on="item_id", how="inner").where(F.col("frequent_on") < F.col("as_of"))
    return known.select(ITEM_VOCABULARY.schema.names)


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
    of_customers = customer_item_days.where(F.col("customer_id") != GUEST)
    seen = with_person(seen_days(of_customers, days, CUSTOMER_ITEM_DAYS), persons)
    counts = {kind: F.sum(F.expr(NUM_OF_KIND[kind])) for kind in sorted(strengths)}
    weighted = (number * F.lit(strengths[kind]) for kind, number in counts.items())
    pairs = seen.groupBy("customer_id", "item_id", "as_of").agg(
        reduce(Column.__add__, counts.values()).alias("num_events"),
        reduce(Column.__add__, weighted).alias("strength"),
        F.max(last_of(*strengths)).alias("last_at"),
    )
    taken = pairs.where(F.col("num_events") > 0)
    indexed = taken.join(vocabulary.select("item_id", "as_of", "item_index"), on=["item_id", "as_of"], how="inner")
    customers = with_dense_index(indexed.select("customer_id", "as_of").distinct())
    return indexed.join(customers, on=["customer_id", "as_of"], how="inner").select(INTERACTIONS.schema.names)


def item_sequences(
    events: DataFrame,
    vocabulary: DataFrame,
    persons: DataFrame | None = None,
    *,
    days: Sequence[date],
    kinds: Sequence[str],
    length: int,
) -> DataFrame:
    """One row per customer and as_of: the indices of the last `length` items, oldest first; ties by event_id."""
    taken = _seen_at(_of_items(events, kinds), days)
    seen = with_person(taken.select("customer_id", "as_of", "item_id", "occurred_at", "event_id"), persons)
    indexed = seen.join(vocabulary.select("item_id", "as_of", "item_index"), on=["item_id", "as_of"], how="inner")
    backwards = Window.partitionBy("customer_id", "as_of").orderBy(F.desc("occurred_at"), F.desc("event_id"))
    last = indexed.withColumn("_place", F.row_number().over(backwards)).where(F.col("_place") <= length)
    ordered = F.array_sort(F.collect_list(F.struct((-F.col("_place")).alias("place"), "item_index")))
    sequences = last.groupBy("customer_id", "as_of").agg(ordered["item_index"].alias("item_indices"))
    return sequences.withColumn("length", F.size("item_indices")).select(ITEM_SEQUENCES.schema.names)


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


def _of_items(events: DataFrame, kinds: Sequence[str]) -> DataFrame:
    return events.where(F.col("kind").isin(*kinds) & F.col("item_id").isNotNull())


def _seen_at(events: DataFrame, days: Sequence[date]) -> DataFrame:
    """Repeat each event for every as_of in which it was available."""
    seen = at_each(events.withColumn("_available_on", available_on()), days).where(
        F.col("_available_on") < F.col("as_of")
    )
    return seen.where(~was_flagged(seen, by=F.date_sub("as_of", 1)))
