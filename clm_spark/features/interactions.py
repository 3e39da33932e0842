"""Interactions of customers with items, as recommenders train on them."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import with_person
from clm_spark.features.customers import ONE_DAY, moved_customers
from clm_spark.features.items import of_named_customers
from clm_spark.features.pairs import PAIR
from clm_spark.features.versions import KEY, seen_days
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
    pairs = _taken_pairs(customer_item_days, persons, days=days, strengths=strengths)
    return _indexed(pairs, vocabulary)


def next_interactions(
    before: DataFrame,
    customer_item_days: DataFrame,
    vocabulary: DataFrame,
    came: DataFrame,
    persons: DataFrame | None = None,
    *,
    as_of: date,
    strengths: Mapping[ItemKind, float],
) -> DataFrame:
    """The rows of as_of from `before`, those of the day before; the same as `interactions` gives.

    Merged from all their days are the pairs of which more became known on the day just passed, those of the items that
    `came` into the vocabulary (`item_id`), and those of customers who gained or lost an id. `persons` are of both days.
    """
    today = None if persons is None else persons.where(F.col("as_of") == F.lit(as_of)).drop("as_of")
    partials = of_named_customers(customer_item_days)
    is_news = F.col("known_on") == F.lit(as_of - ONE_DAY)
    news = with_person(partials.where(is_news).select(*PAIR), today).distinct()
    kept = before.join(news, on=list(PAIR), how="left_anti")
    named = with_person(partials.withColumn("_id", F.col(KEY)), today)
    found = named.join(news.withColumn("_is_news", F.lit(True)), on=list(PAIR), how="left")
    found = found.join(came.select("item_id", F.lit(True).alias("_came")), on="item_id", how="left")
    is_merged = F.col("_is_news").isNotNull() | F.col("_came").isNotNull()
    if persons is not None:
        moved = moved_customers(persons, as_of)
        kept = kept.join(moved, on=KEY, how="left_anti")
        found = found.join(moved.withColumn("_moved", F.lit(True)), on=KEY, how="left")
        is_merged |= F.col("_moved").isNotNull()
    theirs = found.where(is_merged).withColumn(KEY, F.col("_id")).select(customer_item_days.columns)
    merged = _taken_pairs(theirs, persons, days=[as_of], strengths=strengths)
    carried = kept.withColumn("as_of", F.lit(as_of)).select(merged.columns)
    return _indexed(carried.unionByName(merged), vocabulary)


def _taken_pairs(
    customer_item_days: DataFrame,
    persons: DataFrame | None,
    *,
    days: Sequence[date],
    strengths: Mapping[ItemKind, float],
) -> DataFrame:
    seen = with_person(seen_days(of_named_customers(customer_item_days), days, CUSTOMER_ITEM_DAYS), persons)
    weighted = (F.sum(num_taken([kind])) * F.lit(strengths[kind]) for kind in sorted(strengths))
    pairs = seen.groupBy(*PAIR, "as_of").agg(
        F.sum(num_taken(strengths)).alias("num_events"),
        reduce(Column.__add__, weighted).alias("strength"),
        F.max(last_of(*strengths)).alias("last_at"),
    )
    return pairs.where(F.col("num_events") > 0)


def _indexed(pairs: DataFrame, vocabulary: DataFrame) -> DataFrame:
    """The pairs of indexed items, with the indices of both."""
    indexed = pairs.join(vocabulary.select("item_id", "as_of", "item_index"), on=["item_id", "as_of"], how="inner")
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
