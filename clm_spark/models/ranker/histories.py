"""Histories of customers up to past mornings, and what they bought after each, from the partials of days."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.features.labels import person_by_now
from clm_spark.features.panel import at_each
from clm_spark.features.versions import of_persons, seen_days
from clm_spark.features.vocabulary import is_retired, num_taken
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.task import Inputs
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, ITEM_DAYS, ITEM_VOCABULARY

# Of a day with an item. A line that does not say how many is one.
LINE = {
    "items": "item_index",
    "ages": "CAST(age_days AS INT)",
    "units": "CAST(IF(num_lines > 0, greatest(num_units, 1), 0) AS FLOAT)",
    "spent": "CAST(revenue_cents / 100 AS FLOAT)",
    "looks": "CAST(num_views + num_clicks + num_carts AS FLOAT)",
}

TELLS = "num_lines > 0 OR num_views + num_clicks + num_carts > 0"


def histories_at(inputs: Inputs, days: Sequence[date]) -> DataFrame:
    """One row per customer and as_of in `days`: `customer_key`, and per line `items`, `ages`, `units`, `spent`, `looks`.

    As known on each of the mornings. Items are those of `numbered_items`, of which an earlier morning knows fewer
    (`known_items`). Days with neither a purchase nor a look, such as of impressions alone, are left out. A customer's
    lines come together in one row: the `candidates.longest_history` latest of them, as one id may be that of a till.
    """
    partials = inputs.lake.read(CUSTOMER_ITEM_DAYS).where(F.col("customer_id") != GUEST)
    seen = seen_days(partials, days, CUSTOMER_ITEM_DAYS)
    lines = of_persons(seen, known_persons(inputs.lake, days), CUSTOMER_ITEM_DAYS)
    named = lines.where(TELLS).join(F.broadcast(known_items(inputs, days)), on=["item_id", "as_of"], how="inner")
    line = F.struct(*(F.expr(sql).alias(name) for name, sql in LINE.items()))
    latest_first = Window.partitionBy("customer_id", "as_of").orderBy("age_days", "item_index")
    longest = inputs.settings.of(CandidateSettings).longest_history
    named = named.withColumn("_nth", F.row_number().over(latest_first)).where(F.col("_nth") <= longest)
    gathered = named.groupBy("customer_id", "as_of").agg(F.collect_list(line).alias("_lines"))
    key = F.xxhash64("customer_id").alias("customer_key")
    columns = (F.col(f"_lines.{name}").alias(name) for name in LINE)
    return gathered.select("customer_id", "as_of", key, *columns)


def taken_after(inputs: Inputs, histories: DataFrame, days: Sequence[date], *, horizon_days: int) -> DataFrame:
    """One row per customer and as_of of `histories`, those of `days`: the items bought in the `horizon_days` from then on, as `taken`.

    As known on the morning of `inputs.as_of`, by which all of these horizons have ended.
    """
    known = inputs.lake.read_as_of(CUSTOMER_ITEM_DAYS, inputs.as_of).where(F.col("num_lines") > 0)
    known = known.where(F.col("day_on") >= F.lit(min(days)))  # of what came before no file is read
    dated = at_each(known.select("customer_id", "item_id", "day_on"), days)
    is_after = (F.col("day_on") >= F.col("as_of")) & (F.col("day_on") < F.date_add("as_of", horizon_days))
    persons = known_persons(inputs.lake, [inputs.as_of])
    bought = with_person(dated.where(is_after).select("customer_id", "item_id", F.col("as_of").alias("_on")), persons)
    asked = person_by_now(histories, persons).join(bought, on=["customer_id", "_on"], how="inner")
    of_asked = asked.select(F.col("_asked").alias("customer_id"), F.col("_on").alias("as_of"), "item_id")
    named = of_asked.join(F.broadcast(known_items(inputs, days)), on=["item_id", "as_of"], how="inner")
    return named.groupBy("customer_id", "as_of").agg(F.collect_set("item_index").alias("taken"))


def numbered_items(inputs: Inputs) -> DataFrame:
    """One row per item of the vocabulary of `inputs.as_of`: `item_id`, `category`, and `item_index` from 1 without a gap.

    Not the vocabulary's own indices: items that were retired keep theirs, and arrays by index would grow with them.
    """
    # One task sorts them: bounded by recommend.max_items.
    in_order = F.row_number().over(Window.partitionBy("as_of").orderBy("item_index"))
    return inputs.read(ITEM_VOCABULARY).withColumn("item_index", in_order).select("item_id", "category", "item_index")


def known_items(inputs: Inputs, days: Sequence[date]) -> DataFrame:
    """One row per item of `numbered_items` and as_of in `days` on which it could be recommended: `item_id`, `as_of`, `item_index`.

    On earlier days those with as many events as an index takes, and not retired. Who learned from that morning with all
    items of today would learn that new items sell: those that did not are in no vocabulary.
    """
    numbered = numbered_items(inputs).drop("category")
    if [*days] == [inputs.as_of]:
        return numbered.withColumn("as_of", F.lit(inputs.as_of))
    settings, retire_after_days = inputs.settings, inputs.settings.recommend.retire_after_days
    taken = num_taken(settings.features.kind_strengths)
    seen = seen_days(inputs.lake.read(ITEM_DAYS), days, ITEM_DAYS).groupBy("item_id", "as_of").agg(
        F.sum(taken).alias("_num"), F.max(F.when(taken > 0, F.col("day_on"))).alias("_last_on")
    )  # fmt: skip
    frequent = seen.where(F.col("_num") >= settings.recommend.min_item_events)
    if retire_after_days is not None:
        frequent = frequent.where(~is_retired("_last_on", retire_after_days))
    return numbered.join(frequent.select("item_id", "as_of"), on="item_id", how="inner")
