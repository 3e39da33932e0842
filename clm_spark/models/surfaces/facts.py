"""What the business rules look at: facts on each candidate, as known on the morning."""

import logging
from collections.abc import Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.models.made_days import check_made, rows_made
from clm_spark.models.surfaces.lists import length_of
from clm_spark.models.surfaces.rules import is_excluded, is_sold_out
from clm_spark.settings import Settings
from clm_spark.settings.surfaces import SurfaceSettings
from clm_spark.tables.catalog import (
    CONTACT_PERMISSIONS,
    CUSTOMER_FEATURES,
    CUSTOMER_ITEM_DAYS,
    ITEM_FACTS,
    ITEM_FEATURES,
    ITEM_INDICES,
    ITEM_VOCABULARY,
    PAIR_FEATURES,
    SURFACES,
)
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)

LOOKED_AT = (CUSTOMER_FEATURES, ITEM_FEATURES, PAIR_FEATURES, ITEM_INDICES, ITEM_FACTS, CONTACT_PERMISSIONS)
FIRST_LOOKED_FOR = 10_000  # customers of the file of permissions
FEW = 0.5  # of gold.item_vocabulary: a file that tells the stock, or the brand, of fewer is warned about


def check_facts(lake: Lake) -> None:
    """Raise `SettingsError` where a rule that is on looks at a table whose rows of as_of no run has made, or at a file of other ids.

    Without them the rule would remove nothing: items that are sold out would be shown. A rule on permissions would remove
    everything. A warning names a rule that has little or nothing to look at.
    """
    check_made(lake, *asked_facts(lake.settings))
    asked, shown = lake.settings.shop_facts, shown_surfaces(lake.settings)
    if asked.items is not None:
        _check_items(lake, asked.items)
    channels = {of.permission.lower() for of in shown if of.permission}
    if asked.permissions is not None and channels:
        _check_permissions(lake, asked.permissions, channels)
    hidden = {name for of in shown for name in of.hidden_categories}
    if hidden:
        _warn_of_unknown_categories(lake, hidden)
    is_capped = any(of.max_impressions for of in shown)
    if is_capped and rows_made(lake, PAIR_FEATURES).where("num_impressions_30d > 0").isEmpty():
        log.warning("max_impressions removes nothing: the log has no impression event of the last 30 days")


def shown_surfaces(settings: Settings) -> list[SurfaceSettings]:
    """The surfaces that have a list."""
    return [getattr(settings.surfaces, surface) for surface in SURFACES if length_of(settings, surface)]


def _check_items(lake: Lake, file: str) -> None:
    """The file of items must name some of those in the log; a warning where it tells the stock or brand of few."""
    facts, seen = rows_made(lake, ITEM_FACTS), rows_made(lake, ITEM_INDICES).select("item_id")
    named, example = facts.first(), seen.first()
    if named is None or example is None:
        return
    if seen.join(facts, on="item_id", how="left_semi").isEmpty():
        raise SettingsError(
            f"{file} names no item of the log: expected item_id as the log writes it, such as {example['item_id']}, came "
            f"{named['item_id']} and the like; correct the file and run load_shop_facts"
        )
    known = rows_made(lake, ITEM_VOCABULARY).join(facts, on="item_id", how="left")
    told = {"stock": F.count("num_in_stock"), "brand": F.count("brand")}
    counted = known.agg(F.count("*").alias("items"), *(num.alias(what) for what, num in told.items())).head()
    assert counted is not None
    for what in told:
        if 0 < counted[what] < FEW * counted["items"]:
            log.warning(
                "%s tells the %s of %d of the %d items of gold.item_vocabulary: no rule looks at that of the others",
                file,
                what,
                counted[what],
                counted["items"],
            )


def _warn_of_unknown_categories(lake: Lake, hidden: Collection[str]) -> None:
    """Name the hidden categories that no item has: one may be written in another way, or have another name by now."""
    found = rows_made(lake, ITEM_FEATURES).where(F.col("category").isin(*hidden)).select("category").distinct()
    for name in sorted({*hidden} - {row["category"] for row in found.collect()}):  # at most those that settings name
        log.warning("hidden_categories has %r, and no item of the log is in a category of that name", name)


def _check_permissions(lake: Lake, file: str, channels: Collection[str]) -> None:
    """The file of permissions must name some of the customers; a warning where it lacks a channel that a surface asks for."""
    said = rows_made(lake, CONTACT_PERMISSIONS)
    if said.isEmpty():
        log.warning("%s has no row: nobody agreed to be written to", file)
        return
    customers = lake.read(CUSTOMER_ITEM_DAYS).select("customer_id")
    some = F.broadcast(said.select("customer_id").limit(FIRST_LOOKED_FOR))  # mostly one of them is soon found
    if (
        customers.join(some, on="customer_id", how="left_semi").isEmpty()
        and said.join(customers, on="customer_id", how="left_semi").isEmpty()
    ):
        raise SettingsError(
            f"{file} names no customer of the log: expected customer_id as the log writes it; correct the file and run "
            "load_shop_facts"
        )
    asked = said.select(F.lower("channel").alias("channel")).where(F.col("channel").isin(*channels))
    known = {row["channel"] for row in asked.distinct().collect()}  # of those that surfaces name
    for channel in sorted({*channels} - known):
        log.warning("%s names nobody's permission for %s: the surface that asks for it has no lists", file, channel)


def asked_facts(settings: Settings) -> list[Table]:
    """The tables that the rules of some surface look at."""
    shown = shown_surfaces(settings)
    of_items = (of.price_band or of.hidden_categories or of.max_per_category or of.repeat_share for of in shown)
    asked = (
        (CUSTOMER_FEATURES, any(of.price_band for of in shown)),
        (ITEM_FEATURES, any(of_items)),
        (PAIR_FEATURES, any(of.min_new or of.max_impressions or of.repeat_share for of in shown)),
        (ITEM_FACTS, settings.shop_facts.items is not None),
        (CONTACT_PERMISSIONS, settings.shop_facts.permissions is not None),
    )
    return [table for table, is_asked in asked if is_asked]


def shown_items(lake: Lake) -> DataFrame:
    """The rows of gold.item_vocabulary without the items that no list may show: sold out, or excluded by the shop.

    Raises `SettingsError` where the settings name a file of items that no run has read for the day; of a past day, before the
    first that has one, nothing is known.
    """
    items, as_of = lake.read_as_of(ITEM_VOCABULARY), lake.settings.as_of
    if lake.settings.shop_facts.items is None:
        return items
    try:
        check_made(lake, ITEM_FACTS)
    except SettingsError:
        if not lake.exists(ITEM_FACTS) or lake.read(ITEM_FACTS).where(F.col("as_of") > F.lit(as_of)).isEmpty():
            raise
        log.warning(
            "%s has no row as of %s: sold-out and excluded items of that day are not known", ITEM_FACTS.title, as_of
        )
        return items
    hidden = rows_made(lake, ITEM_FACTS).where(is_sold_out() | is_excluded())
    return items.join(hidden, on="item_id", how="left_anti")


def with_facts(candidates: DataFrame, lake: Lake) -> DataFrame:
    """Add to rows by customer_id and item_id what the rules ask for; null where it is not known. Reads the candidates twice.

    `category`, `brand`, `num_in_stock`, `is_excluded`, `is_sponsored`, `price_cents`; `bought_days_ago`, `gap_days`
    (usual days between two purchases) and `num_impressions` of the last 30 days; `usual_price_cents` and `channels`.
    """
    pairs = rows_made(lake, PAIR_FEATURES)
    of_pairs = pairs.select(
        "customer_id",
        "item_id",
        F.col("purchase_recency_days").alias("bought_days_ago"),
        F.col("mean_gap_days").alias("own_gap_days"),
        F.col("num_impressions_30d").alias("num_impressions"),
    )
    known = candidates.join(of_pairs, on=["customer_id", "item_id"], how="left")
    items = _items(lake)
    # Sent to the workers: joined by item, the candidates of one popular item would meet in one task. They are of the
    # vocabulary, or of the popular ones that lists are filled up from: some more than recommend.max_items at most.
    listed = candidates.select("item_id").distinct()
    known = known.join(F.broadcast(items.join(listed, on="item_id", how="left_semi")), on="item_id", how="left")
    # By the category that an item has by now: a pair keeps that of its last day, and categories are renamed.
    by_now = items.select("item_id", F.col("category").alias("_by_now"))
    of_today = pairs.join(by_now, on="item_id", how="left").withColumn("category", F.coalesce("_by_now", "category"))
    gaps = category_gaps(of_today).withColumnRenamed("category", "_category")
    known = known.join(F.broadcast(gaps), on=F.col("category").eqNullSafe(F.col("_category")), how="left")
    known = known.join(_customers(lake), on="customer_id", how="left")
    gap_days = F.coalesce("own_gap_days", "category_gap_days").alias("gap_days")
    inner = (*candidates.columns, "own_gap_days", "category_gap_days", "_category")
    added = (c for c in known.columns if c not in inner)
    return known.select(*candidates.columns, *added, gap_days)


def category_gaps(pairs: DataFrame) -> DataFrame:
    """One row per category with a repeated purchase in rows of gold.pair_features: `category_gap_days`, the median of the pairs' mean gaps.

    Of gaps to a hundredth of a day, counted: exact, and the same in every run. Items without a category are a group of their
    own, its `category` null.
    """
    repeated = pairs.where(F.col("mean_gap_days").isNotNull())
    counted = repeated.groupBy("category", F.round("mean_gap_days", 2).alias("gap_days")).agg(F.count("*").alias("n"))
    return counted.groupBy("category").agg(F.percentile("gap_days", 0.5, F.col("n")).alias("category_gap_days"))


def _items(lake: Lake) -> DataFrame:
    """One row per item that was seen in the log, or that the shop named."""
    price_cents = F.coalesce("mean_price_90d_cents", "mean_price_365d_cents").alias("price_cents")
    seen = rows_made(lake, ITEM_FEATURES).select("item_id", "category", price_cents)
    return seen.join(rows_made(lake, ITEM_FACTS).drop("as_of"), on="item_id", how="full")


def _customers(lake: Lake) -> DataFrame:
    """One row per customer: `usual_price_cents` of a unit in the last 365 days, and the `channels` agreed to."""
    usual: Column = F.try_divide("revenue_365d_cents", "num_units_365d").alias("usual_price_cents")
    features = rows_made(lake, CUSTOMER_FEATURES).select("customer_id", usual)
    return features.join(_permissions(lake), on="customer_id", how="full")


def _permissions(lake: Lake) -> DataFrame:
    """One row per person with a channel that all of the person's logins in the list agree to."""
    agreed = _of_persons(lake).groupBy("customer_id", "channel").agg(F.min("is_allowed").alias("is_allowed"))
    return agreed.where("is_allowed").groupBy("customer_id").agg(F.collect_set("channel").alias("channels"))


def _of_persons(lake: Lake) -> DataFrame:
    """The rows of silver.contact_permissions, under the persons known on the morning, channels in small letters."""
    listed = with_person(rows_made(lake, CONTACT_PERMISSIONS), known_persons(lake, [lake.settings.as_of]))
    return listed.withColumn("channel", F.lower("channel"))
