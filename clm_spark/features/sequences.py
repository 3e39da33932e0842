"""Each customer's items in the order of time, as sequence models read them.

Events may have `flagged_on`: an as_of after that day leaves them out.
"""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.bots import was_flagged
from clm_spark.events.clocks import available_on
from clm_spark.events.identity.persons import with_person
from clm_spark.features.customers import ONE_DAY, moved_customers
from clm_spark.features.items import of_named_customers
from clm_spark.features.panel import at_each
from clm_spark.features.versions import KEY
from clm_spark.tables.catalog import ITEM_SEQUENCES

# The arrays of a sequence, and what each holds of an event.
OF_EACH = {"item_indices": "item_index", "kinds": "kind", "times": "occurred_at", "prices": "price"}
PRICE = "coalesce(price_cents, amount_cents DIV nullif(quantity, 0))"  # of one unit, in cents


def item_sequences(
    events: DataFrame,
    vocabulary: DataFrame,
    persons: DataFrame | None = None,
    *,
    days: Sequence[date],
    kinds: Sequence[str],
    length: int,
) -> DataFrame:
    """One row per customer and as_of: the indices of the last `length` items, oldest first; ties by event_id.

    So the lines of one basket, which came at one time, stand in the order of their ids.
    """
    taken = _seen_at(_of_items(events, kinds), days)
    seen = with_person(
        taken.select(
            "customer_id", "as_of", "item_id", "occurred_at", "event_id", "kind", F.expr(PRICE).alias("price")
        ),
        persons,
    )
    indexed = seen.join(vocabulary.select("item_id", "as_of", "item_index"), on=["item_id", "as_of"], how="inner")
    backwards = Window.partitionBy("customer_id", "as_of").orderBy(F.desc("occurred_at"), F.desc("event_id"))
    last = indexed.withColumn("_place", F.row_number().over(backwards)).where(F.col("_place") <= length)
    each = F.struct((-F.col("_place")).alias("place"), "item_index", "kind", "occurred_at", "price")
    ordered = F.array_sort(F.collect_list(each))
    arrays = [ordered[field].alias(name) for name, field in OF_EACH.items()]
    sequences = last.groupBy("customer_id", "as_of").agg(*arrays)
    return sequences.withColumn("length", F.size("item_indices")).select(ITEM_SEQUENCES.schema.names)


def next_item_sequences(
    before: DataFrame, of_day: DataFrame, again: DataFrame, *, as_of: date, length: int
) -> DataFrame:
    """The sequences of as_of from `before`, those of the day before, and `of_day`, made of the day just passed alone.

    Leaves out the `customer_id` of `again`, whose sequences have to be made of all their events.
    """
    new = of_day.select("customer_id", *(F.col(name).alias(f"_new_{name}") for name in OF_EACH))
    both = before.select("customer_id", *OF_EACH).join(new, on="customer_id", how="full")
    certain = both.join(again, on="customer_id", how="left_anti")
    certain = certain.withColumns({name: _last_of(name, certain, length) for name in OF_EACH})
    sized = certain.withColumns({"length": F.size("item_indices"), "as_of": F.lit(as_of)})
    return sized.select(ITEM_SEQUENCES.schema.names)


def _last_of(name: str, rows: DataFrame, length: int) -> Column:
    """The last `length` of an array of before and one of the day."""
    nothing = F.array().cast(rows.schema[name].dataType)
    items = F.concat(F.coalesce(name, nothing), F.coalesce(f"_new_{name}", nothing))
    return F.slice(items, F.greatest(F.size(items) - length + 1, F.lit(1)), length)


def customers_out_of_order(
    customer_item_days: DataFrame, items: DataFrame, *, as_of: date, persons: DataFrame | None = None
) -> DataFrame:
    """The customers to whose sequence of the day before the day just passed cannot be added: `customer_id`.

    Those with a late event or a bot flag that became known that day; those who ever took to one of `items`, which came
    into the vocabulary or left it, bounded by it; those who gained or lost an id. Needs `persons` of both days.
    """
    yesterday, partials = as_of - ONE_DAY, of_named_customers(customer_item_days)
    is_corrected = (F.col("known_on") == F.lit(yesterday)) & (F.col("day_on") < F.lit(yesterday))
    of_items = partials.select(KEY, "item_id").join(F.broadcast(items), on="item_id", how="left_semi")
    found = partials.where(is_corrected).select(KEY).unionByName(of_items.select(KEY))
    if persons is None:
        return found.distinct()
    today = persons.where(F.col("as_of") == F.lit(as_of)).drop("as_of")
    return with_person(found, today).unionByName(moved_customers(persons, as_of)).distinct()


def _of_items(events: DataFrame, kinds: Sequence[str]) -> DataFrame:
    return events.where(F.col("kind").isin(*kinds) & F.col("item_id").isNotNull())


def _seen_at(events: DataFrame, days: Sequence[date]) -> DataFrame:
    """Repeat each event for every as_of in which it was available."""
    seen = at_each(events.withColumn("_available_on", available_on()), days).where(
        F.col("_available_on") < F.col("as_of")
    )
    return seen.where(~was_flagged(seen, by=F.date_sub("as_of", 1)))
