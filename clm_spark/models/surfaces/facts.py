"""What the business rules look at: facts on each candidate, as known on the morning."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.models.made_days import check_made, rows_made
from clm_spark.models.surfaces.lists import length_of
from clm_spark.settings import Settings
from clm_spark.tables.catalog import (
    CONTACT_PERMISSIONS,
    CUSTOMER_FEATURES,
    ITEM_FACTS,
    ITEM_FEATURES,
    PAIR_FEATURES,
    SURFACES,
)
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

LOOKED_AT = (CUSTOMER_FEATURES, ITEM_FEATURES, PAIR_FEATURES, ITEM_FACTS, CONTACT_PERMISSIONS)


def check_facts(lake: Lake) -> None:
    """Raise `SettingsError` where a rule that is on looks at a table whose rows of as_of no run has made.

    Without them the rule would remove nothing: items that are sold out would be shown.
    """
    check_made(lake, *asked_facts(lake.settings))


def asked_facts(settings: Settings) -> list[Table]:
    """The tables that the rules of some surface look at."""
    shown = [getattr(settings.surfaces, surface) for surface in SURFACES if length_of(settings, surface)]
    of_items = (of.price_band or of.hidden_categories or of.max_per_category or of.repeat_share for of in shown)
    asked = (
        (CUSTOMER_FEATURES, any(of.price_band for of in shown)),
        (ITEM_FEATURES, any(of_items)),
        (PAIR_FEATURES, any(of.min_new or of.max_impressions or of.repeat_share for of in shown)),
        (ITEM_FACTS, settings.shop_facts.items is not None),
        (CONTACT_PERMISSIONS, settings.shop_facts.permissions is not None),
    )
    return [table for table, is_asked in asked if is_asked]


def with_facts(candidates: DataFrame, lake: Lake) -> DataFrame:
    """Add to rows by customer_id and item_id what the rules ask for; null where it is not known.

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
    known = known.join(_items(lake), on="item_id", how="left")
    gaps = category_gaps(pairs).withColumnRenamed("category", "_category")
    known = known.join(F.broadcast(gaps), on=F.col("category").eqNullSafe(F.col("_category")), how="left")
    known = known.join(_customers(lake), on="customer_id", how="left")
    gap_days = F.coalesce("own_gap_days", "category_gap_days").alias("gap_days")
    inner = (*candidates.columns, "own_gap_days", "category_gap_days", "_category")
    added = (c for c in known.columns if c not in inner)
    return known.select(*candidates.columns, *added, gap_days)


def category_gaps(pairs: DataFrame) -> DataFrame:
    """One row per category of gold.pair_features with a repeated purchase: `category_gap_days`, the median of the pairs' mean gaps.

    Items without a category are a group of their own, its `category` null.
    """
    repeated = pairs.where(F.col("mean_gap_days").isNotNull())
    median = F.percentile_approx("mean_gap_days", F.lit(0.5)).cast("double")
    return repeated.groupBy("category").agg(median.alias("category_gap_days"))


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
    stored = rows_made(lake, CONTACT_PERMISSIONS)
    listed = with_person(stored, known_persons(lake, [lake.settings.as_of]))
    agreed = listed.groupBy("customer_id", "channel").agg(F.min("is_allowed").alias("is_allowed"))
    return agreed.where("is_allowed").groupBy("customer_id").agg(F.collect_set("channel").alias("channels"))
