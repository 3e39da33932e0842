"""Each customer's items in the order of time, as sequence models read them.

Events may have `flagged_on`: an as_of after that day leaves them out.
"""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.bots import was_flagged
from clm_spark.events.clocks import available_on
from clm_spark.events.identity.persons import with_person
from clm_spark.features.panel import at_each
from clm_spark.tables.catalog import ITEM_SEQUENCES


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


def _of_items(events: DataFrame, kinds: Sequence[str]) -> DataFrame:
    return events.where(F.col("kind").isin(*kinds) & F.col("item_id").isNotNull())


def _seen_at(events: DataFrame, days: Sequence[date]) -> DataFrame:
    """Repeat each event for every as_of in which it was available."""
    seen = at_each(events.withColumn("_available_on", available_on()), days).where(
        F.col("_available_on") < F.col("as_of")
    )
    return seen.where(~was_flagged(seen, by=F.date_sub("as_of", 1)))
