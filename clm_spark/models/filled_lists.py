"""Every customer gets a whole list: what a recommender does not give is filled up with what is popular."""

from datetime import timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.features.items import of_named_customers
from clm_spark.features.versions import seen_days
from clm_spark.features.vocabulary import num_taken
from clm_spark.models.task import Inputs
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, ITEM_DAYS, ITEM_VOCABULARY

MOST_POPULAR = 1000  # items that a list is filled up from
FILLED_BY = "popularity"
TAKEN_TO = "lists.taken_to"
ENTRY = "struct<item_id: string, relevance: double, reason: string, source: string>"


def popular_items(inputs: Inputs, *, window_days: int | None = None) -> DataFrame:
    """One row per item bought, best first by `rank`: `relevance` is how often a customer bought it on a day.

    Purchases are counted, as the truth counts them; of the last `window_days` alone where these are given. What is retired
    from the vocabulary is left out here, too.
    """
    days = inputs.read(ITEM_DAYS)
    if window_days is not None:
        days = days.where(F.col("day_on") >= F.lit(inputs.as_of - timedelta(days=window_days)))
    last_seen = F.max(F.when(num_taken(inputs.settings.features.kind_strengths) > 0, F.col("day_on")))
    bought = days.groupBy("item_id").agg(
        F.sum("num_buyer_days").cast("double").alias("relevance"), last_seen.alias("last_seen_on")
    )
    retire_after_days = inputs.settings.recommend.retire_after_days
    if retire_after_days is not None:
        since = inputs.as_of - timedelta(days=retire_after_days)
        bought = bought.where(F.col("last_seen_on") >= F.lit(since))
    # One task sorts the items that were bought: bounded by the catalogue, and cut right after.
    best_first = Window.orderBy(F.desc("relevance"), "item_id")
    ranked = bought.where(F.col("relevance") > 0).withColumn("rank", F.row_number().over(best_first))
    return ranked.where(F.col("rank") <= MOST_POPULAR)


def filled_up(
    lists: DataFrame, inputs: Inputs, *, top_k: int, num_untried: int = 0, fill: DataFrame | None = None
) -> DataFrame:
    """One row per customer of `taken_items` and rank: the customer's own list, then what is popular and not in it.

    They are `top_k` together. Behind them come up to `num_untried` popular items that the customer has not taken to.
    `source` is null for the list's own items. Where seen items are hidden, those are hidden here too. A list and an array of
    popular items meet in one row per customer: nothing grows with customers times items.
    """
    popular = fill if fill is not None else popular_items(inputs)
    ranked = F.array_sort(F.collect_list(F.struct("rank", "item_id")))
    best = popular.agg(ranked.alias("_ranked")).select(F.col("_ranked.item_id").alias("_best"))
    beside = _with_own(_with_seen(inputs), lists).crossJoin(F.broadcast(best))
    # A recommender that looks at the last items alone has not seen all that the customer has.
    listed = F.filter("_own", lambda entry: ~F.array_contains("_seen", entry["item_id"]))
    taken = F.concat(F.transform(listed, lambda entry: entry["item_id"]), "_seen")
    rest = F.slice(F.array_except("_best", taken), 1, F.greatest(F.lit(top_k) - F.size(listed), F.lit(0)))
    whole = F.slice(F.concat(listed, F.transform(rest, _filler)), 1, top_k)
    if num_untried:
        listed_items = F.transform(whole, lambda entry: entry["item_id"])
        untried = F.slice(F.array_except("_best", F.concat(listed_items, "_taken_to")), 1, num_untried)
        whole = F.concat(whole, F.transform(untried, _filler))
    exploded = beside.select("customer_id", F.posexplode(whole).alias("_place", "_entry"))
    placed = exploded.select("customer_id", (F.col("_place") + 1).alias("rank"), "_entry.*")
    return _with_fillers_words(placed, popular)


def taken_items(inputs: Inputs) -> DataFrame:
    """A row per customer and item taken to by the morning: `customer_id`, `item_id`, some pairs more than once.

    Those of `inputs.rows`, rows of gold.interactions, and those with an item that is not in the vocabulary: customers all of
    whose items are rare, retired or beyond recommend.max_items have no interaction, and are shown what is popular.
    """
    indexed = F.broadcast(inputs.read(ITEM_VOCABULARY).select("item_id"))
    partials = of_named_customers(inputs.lake.read(CUSTOMER_ITEM_DAYS))
    # Few, and found before anything is shuffled.
    others = partials.join(indexed, on="item_id", how="left_anti").select(partials.columns)
    seen = seen_days(others, [inputs.as_of], CUSTOMER_ITEM_DAYS)
    taken = seen.where(num_taken(inputs.settings.features.kind_strengths) > 0).select("customer_id", "item_id", "as_of")
    named = with_person(taken, known_persons(inputs.lake, [inputs.as_of])).drop("as_of")
    return inputs.rows.select("customer_id", "item_id").unionByName(named)


def _with_seen(inputs: Inputs) -> DataFrame:
    """One row per customer, with the items taken to as `_taken_to`, and those of them that no list may show as `_seen`."""

    def of_customers() -> DataFrame:
        return taken_items(inputs).groupBy("customer_id").agg(F.collect_set("item_id").alias("_taken_to"))

    customers, none = inputs.cached(TAKEN_TO, of_customers), F.array().cast("array<string>")
    return customers.withColumn("_seen", F.col("_taken_to") if inputs.settings.recommend.hide_seen else none)


def _with_own(customers: DataFrame, lists: DataFrame) -> DataFrame:
    """Add the customer's own list as `_own`, best first; empty where there is none."""
    entry = F.struct("item_id", "relevance", "reason", F.lit(None).cast("string").alias("source")).cast(ENTRY)
    in_order = F.array_sort(F.collect_list(F.struct("rank", entry.alias("entry"))))
    own = lists.groupBy("customer_id").agg(in_order["entry"].alias("_own"))
    known = F.coalesce("_own", F.array().cast(f"array<{ENTRY}>"))
    return customers.join(own, on="customer_id", how="left").withColumn("_own", known)


def _filler(item_id: Column) -> Column:
    none = F.lit(None)
    return F.struct(item_id, none, none, F.lit(FILLED_BY)).cast(ENTRY)


def _with_fillers_words(lists: DataFrame, popular: DataFrame) -> DataFrame:
    """Say of each item that fills a list up how popular it is."""
    words = F.format_string("bought by customers %d times", F.col("relevance").cast("bigint"))
    of_item = popular.select("item_id", F.col("relevance").alias("_popularity"), words.alias("_words"))
    known = lists.join(F.broadcast(of_item), on="item_id", how="left")
    is_filler = F.col("source").eqNullSafe(FILLED_BY)
    relevance = F.when(is_filler, F.col("_popularity")).otherwise(F.col("relevance")).alias("relevance")
    reason = F.when(is_filler, F.col("_words")).otherwise(F.col("reason")).alias("reason")
    return known.select("customer_id", "rank", "item_id", relevance, reason, "source")
