"""Histories of customers up to past mornings, and what they bought after each, from the partials of days."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.features.panel import at_each
from clm_spark.features.versions import of_persons, seen_days
from clm_spark.models.task import Inputs
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, ITEM_VOCABULARY

# Of a day with an item. A line that does not say how many is one.
LINE = {
    "items": "item_index",
    "ages": "CAST(age_days AS INT)",
    "units": "CAST(IF(num_lines > 0, greatest(num_units, 1), 0) AS FLOAT)",
    "spent": "CAST(revenue_cents / 100 AS FLOAT)",
    "looks": "CAST(num_views + num_clicks + num_carts AS FLOAT)",
}


def histories_at(inputs: Inputs, days: Sequence[date]) -> DataFrame:
    """One row per customer and as_of in `days`: `customer_key`, and per line `items`, `ages`, `units`, `spent`, `looks`.

    As known on each of the mornings. Items are those of the vocabulary of `inputs.as_of`: it keeps their numbers, so an
    earlier morning knows fewer of them. A customer's lines come together in one row: bounded by what one person does.
    """
    partials = inputs.lake.read(CUSTOMER_ITEM_DAYS).where(F.col("customer_id") != GUEST)
    seen = seen_days(partials, days, CUSTOMER_ITEM_DAYS)
    lines = of_persons(seen, known_persons(inputs.lake, days), CUSTOMER_ITEM_DAYS)
    named = lines.join(F.broadcast(_vocabulary(inputs)), on="item_id", how="inner")
    line = F.struct(*(F.expr(sql).alias(name) for name, sql in LINE.items()))
    gathered = named.groupBy("customer_id", "as_of").agg(F.collect_list(line).alias("_lines"))
    key = F.xxhash64("customer_id").alias("customer_key")
    columns = (F.col(f"_lines.{name}").alias(name) for name in LINE)
    return gathered.select("customer_id", "as_of", key, *columns)


def taken_after(inputs: Inputs, days: Sequence[date], *, horizon_days: int) -> DataFrame:
    """One row per customer and as_of in `days`: the items bought in the `horizon_days` from then on, as `taken`.

    As known on the morning of `inputs.as_of`, by which all of these horizons have ended.
    """
    known = inputs.lake.read_as_of(CUSTOMER_ITEM_DAYS, inputs.as_of).where(F.col("num_lines") > 0)
    dated = at_each(known.select("customer_id", "item_id", "day_on"), days)
    is_after = (F.col("day_on") >= F.col("as_of")) & (F.col("day_on") < F.date_add("as_of", horizon_days))
    bought = with_person(dated.where(is_after).drop("day_on"), known_persons(inputs.lake, days))
    named = bought.join(F.broadcast(_vocabulary(inputs)), on="item_id", how="inner")
    return named.groupBy("customer_id", "as_of").agg(F.collect_set("item_index").alias("taken"))


def _vocabulary(inputs: Inputs) -> DataFrame:
    return inputs.read(ITEM_VOCABULARY).select("item_id", "item_index")
