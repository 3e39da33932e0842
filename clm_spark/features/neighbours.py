"""Which items customers take on the same day: counts of pairs, and how far they go beyond chance."""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.features.basket_pairs import PAIR, counted_pairs
from clm_spark.features.versions import KEY, of_persons, seen_days
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.settings import NeighbourOrder
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, ITEM_NEIGHBOURS

TAKEN = {"co_bought": "num_lines > 0", "co_viewed": "num_views > 0"}  # relation: what a day with the item must hold


def baskets_from_days(
    customer_item_days: DataFrame,
    vocabulary: DataFrame,
    persons: DataFrame | None = None,
    *,
    as_of: date,
    window_days: int,
    max_items: int,
) -> DataFrame:
    """One row per customer and relation: `baskets`, of each of the last `window_days` with any the item indices, sorted.

    Needs every version of gold.customer_item_days, and `vocabulary` as of `as_of`. Guests have no baskets. Of a day with
    more than `max_items` a sample is taken, so that pairs grow with the days and not with the square of the longest:
    drawn by hash, no item loses more than another, where the most popular or the latest would always be the same.
    """
    since = F.lit(as_of - timedelta(days=window_days))
    recent = customer_item_days.where((F.col(KEY) != GUEST) & (F.col("day_on") >= since))
    seen = of_persons(seen_days(recent, [as_of], CUSTOMER_ITEM_DAYS), persons, CUSTOMER_ITEM_DAYS)
    indexed = seen.join(F.broadcast(vocabulary.select("item_id", "item_index")), on="item_id", how="inner")
    taken = indexed.select(KEY, "day_on", "item_index", F.explode(_relations()).alias("relation"))
    drawn = F.struct(F.xxhash64(KEY, "day_on", "item_index").alias("draw"), "item_index")
    items = F.slice(F.array_sort(F.collect_list(drawn)), 1, max_items)["item_index"]
    basket = taken.groupBy(KEY, "day_on", "relation").agg(F.array_sort(items).alias("basket"))
    return basket.groupBy(KEY, "relation").agg(F.collect_list("basket").alias("baskets"))


def item_neighbours(
    baskets: DataFrame, vocabulary: DataFrame, *, top_k: int, min_customers: int, order: NeighbourOrder
) -> DataFrame:
    """One row per item, relation and rank, as gold.item_neighbours declares, from rows of `baskets_from_days`.

    Items that as many customers took together as `min_customers` are ranked by the figure `order`.
    """
    both_ways = F.inline(F.array(_pair("item_index", "neighbour_index"), _pair("neighbour_index", "item_index")))
    pairs = counted_pairs(baskets).where(F.col("num_customers") >= min_customers)
    directed = pairs.select("relation", "num_days", "num_customers", both_ways)
    measured = _with_figures(directed, baskets)
    best_first = Window.partitionBy(*PAIR[:2]).orderBy(F.desc(order), F.desc("num_days"), "neighbour_index")
    ranked = measured.withColumn("rank", F.row_number().over(best_first)).where(F.col("rank") <= top_k)
    return _named(ranked, vocabulary).select(ITEM_NEIGHBOURS.schema.names)


def _relations() -> Column:
    return F.array_compact(F.array(*(F.when(F.expr(sql), F.lit(name)) for name, sql in TAKEN.items())))


def _pair(item: str, neighbour: str) -> Column:
    return F.struct(F.col(item).alias("item_index"), F.col(neighbour).alias("neighbour_index"))


def _with_figures(pairs: DataFrame, baskets: DataFrame) -> DataFrame:
    items = baskets.select("relation", F.explode(F.flatten("baskets")).alias("item_index"))
    of_items = items.groupBy("relation", "item_index").agg(F.count("*").cast("double").alias("item_days"))
    of_neighbours = of_items.withColumnsRenamed({"item_index": "neighbour_index", "item_days": "neighbour_days"})
    in_all = baskets.groupBy("relation").agg(F.sum(F.size("baskets")).cast("double").alias("all_days"))
    counted = (
        pairs.join(F.broadcast(of_items), on=["relation", "item_index"], how="inner")
        .join(F.broadcast(of_neighbours), on=["relation", "neighbour_index"], how="inner")
        .join(F.broadcast(in_all), on="relation", how="inner")
    )
    both, one, other = (F.col(name) for name in ("num_days", "item_days", "neighbour_days"))
    return counted.withColumns(
        {
            "support_share": both / F.col("all_days"),
            "confidence_share": both / one,
            "cosine": both / F.sqrt(one * other),
            "lift": both / one * F.col("all_days") / other,
        }
    )


def _named(ranked: DataFrame, vocabulary: DataFrame) -> DataFrame:
    items = vocabulary.select("item_index", "item_id", "as_of")
    neighbours = vocabulary.select(
        F.col("item_index").alias("neighbour_index"), F.col("item_id").alias("neighbour_item_id")
    )
    of_items = ranked.join(F.broadcast(items), on="item_index", how="inner")
    return of_items.join(F.broadcast(neighbours), on="neighbour_index", how="inner")
