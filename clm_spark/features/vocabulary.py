"""The items that recommenders know, and by which numbers."""

from collections.abc import Iterable, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.settings import RecommendSettings
from clm_spark.tables.catalog import ITEM_INDICES, ITEM_VOCABULARY
from clm_spark.tables.measures import NUM_OF_KIND

BUCKETS = 1024
NEARLY_FULL = 0.9  # of recommend.max_items: from there on a run warns


def num_taken(kinds: Iterable[str]) -> Column:
    """The events of these kinds on a row of gold.customer_item_days or gold.item_days."""
    return reduce(Column.__add__, (F.expr(NUM_OF_KIND[kind]) for kind in sorted(kinds)))


def next_item_indices(
    before: DataFrame,
    item_days: DataFrame,
    *,
    as_of: date,
    kinds: Sequence[str],
    min_item_events: int,
    since: date | None = None,
) -> DataFrame:
    """One row per item seen and as_of, as gold.item_indices declares, from `before`: the rows of `since`, an earlier as_of.

    Needs every version of gold.item_days of the days with one known from `since` on; of all days where `since` is None
    and `before` empty. An item gets the next index on the day its `min_item_events`-th event becomes known, and keeps it:
    the indices of an earlier as_of are the beginning of every later one's, so a model can grow with them.
    """
    gained = _gained(before, item_days, as_of=as_of, kinds=kinds, min_item_events=min_item_events, since=since)
    both = before.alias("old").join(gained.alias("new"), on="item_id", how="full")
    # A late event of an old day does not bring its category back.
    is_newer = F.col("new.category_on") >= F.coalesce("old.category_on", "new.category_on")
    items = both.select(
        "item_id",
        F.lit(as_of).alias("as_of"),
        F.col("old.item_index").alias("item_index"),
        F.when(F.col("old.item_index").isNull(), F.col("new.frequent_on")).alias("_frequent_on"),
        (F.coalesce("old.num_events", F.lit(0)) + F.coalesce("new.num_events", F.lit(0))).alias("num_events"),
        F.when(is_newer, F.col("new.category")).otherwise(F.col("old.category")).alias("category"),
        F.when(is_newer, F.col("new.category_on")).otherwise(F.col("old.category_on")).alias("category_on"),
        F.greatest("old.last_seen_on", "new.last_seen_on").alias("last_seen_on"),
    )
    # What only impressions, or a bot's day that no morning saw, name is no item yet.
    seen = items.where(F.col("last_seen_on").isNotNull())
    return _with_next_index(seen, before).select(ITEM_INDICES.schema.names)


def item_vocabulary(indices: DataFrame, *, max_items: int, retire_after_days: int | None) -> DataFrame:
    """One row per item that recommenders may show and as_of, as gold.item_vocabulary declares.

    Those with an index, less those not seen for `retire_after_days`; of them the `max_items` that have had theirs longest.
    """
    # One task sorts the items of an as_of: bounded by what a recommender can hold at all, and max_items cuts there.
    first_come = Window.partitionBy("as_of").orderBy("item_index")
    placed = in_use(indices, retire_after_days).withColumn("_place", F.row_number().over(first_come))
    return placed.where(F.col("_place") <= max_items).select(ITEM_VOCABULARY.schema.names)


def in_use(indices: DataFrame, retire_after_days: int | None) -> DataFrame:
    """The rows of gold.item_indices with an index whose item was seen in the last `retire_after_days`, or ever."""
    indexed = indices.where(F.col("item_index").isNotNull())
    return indexed if retire_after_days is None else indexed.where(~is_retired("last_seen_on", retire_after_days))


def is_retired(last_seen_on: str, retire_after_days: int) -> Column:
    """Whether an item last seen that day is retired as of the row's `as_of`."""
    return F.date_diff("as_of", last_seen_on) > retire_after_days


def room_warning(indices: DataFrame, limits: RecommendSettings) -> str | None:
    """What to say and to do where one as_of of gold.item_indices has nearly as many items in use as are allowed, or more."""
    used, allowed = in_use(indices, limits.retire_after_days).count(), limits.max_items
    if used <= NEARLY_FULL * allowed:
        return None
    state = f"uses {used:,} of recommend.max_items {allowed:,} items: once all are used, no trained model recommends new ones"
    if used >= allowed:
        state = f"is full: {used - allowed:,} items beyond recommend.max_items {allowed:,} are recommended by no trained model"
    return (
        f"gold.item_vocabulary {state}; raise recommend.max_items, or recommend.min_item_events, or lower "
        f"recommend.retire_after_days ({limits.retire_after_days or 'never'})"
    )


def _gained(
    before: DataFrame,
    item_days: DataFrame,
    *,
    as_of: date,
    kinds: Sequence[str],
    min_item_events: int,
    since: date | None,
) -> DataFrame:
    """One row per item with a version known from `since` on: what is new of it, and since when it is frequent enough."""
    of_versions = _new_events(item_days, as_of=as_of, kinds=kinds, since=since)
    per_day = of_versions.groupBy("item_id", "known_on").agg(
        F.sum("_more").alias("num_events"),
        F.max(F.when(F.col("_more") > 0, F.col("day_on"))).alias("last_seen_on"),
        F.max(F.when(F.col("_num") > 0, F.col("_named"))).alias("_named"),
    )
    so_far = Window.partitionBy("item_id").orderBy("known_on").rowsBetween(Window.unboundedPreceding, 0)
    counted = before.select("item_id", F.col("num_events").alias("_before"))
    known = F.coalesce("_before", F.lit(0)) + F.sum("num_events").over(so_far)
    growing = per_day.join(counted, on="item_id", how="left").withColumn("_known", known)
    return (
        growing.groupBy("item_id")
        .agg(
            F.sum("num_events").alias("num_events"),
            F.min(F.when(F.col("_known") >= min_item_events, F.col("known_on"))).alias("frequent_on"),
            F.max("last_seen_on").alias("last_seen_on"),
            F.max("_named").alias("_named"),
        )
        .select("*", F.col("_named.category").alias("category"), F.col("_named.day_on").alias("category_on"))
    )


def _new_events(item_days: DataFrame, *, as_of: date, kinds: Sequence[str], since: date | None) -> DataFrame:
    """The versions known from `since` on, with `_num` events of these kinds, `_more` than the version before held."""
    versions = Window.partitionBy("item_id", "day_on").orderBy("known_on")
    known = item_days.where(F.col("known_on") < F.lit(as_of)).withColumn("_num", num_taken(kinds))
    # Fewer where a day turned out to be a bot's.
    more = F.col("_num") - F.coalesce(F.lag("_num").over(versions), F.lit(0))
    named = F.when(F.col("category").isNotNull(), F.struct("day_on", "known_on", "category"))
    counted = known.withColumns({"_more": more, "_named": named})
    return counted if since is None else counted.where(F.col("known_on") >= F.lit(since))


def _with_next_index(items: DataFrame, before: DataFrame) -> DataFrame:
    """Number the items that became frequent enough after the highest index, in the order of that day, ties by item_id."""
    last = before.agg(F.coalesce(F.max("item_index"), F.lit(0)).alias("_last"))
    is_new = F.col("_frequent_on").isNotNull()
    # One task sorts those that came: a vocabulary that fits into a recommender fits into a task. The others stay spread.
    others = F.pmod(F.xxhash64("item_id"), F.lit(BUCKETS))
    first_come = Window.partitionBy(F.when(~is_new, others)).orderBy("_frequent_on", "item_id")
    next_index = (F.col("_last") + F.row_number().over(first_come)).cast("int")
    index = F.coalesce("item_index", F.when(is_new, next_index))
    return items.crossJoin(F.broadcast(last)).withColumn("item_index", index)
