"""Features of items, of customers with items, and of customers' tastes, as known on the morning of a day."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.features.versions import KEY, of_persons, seen_days
from clm_spark.features.windows import features_from_days
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.tables.catalog import (
    CUSTOMER_CATEGORIES,
    CUSTOMER_ITEM_DAYS,
    CUSTOMER_TASTES,
    ITEM_DAYS,
    ITEM_FEATURES,
    PAIR_FEATURES,
)
from clm_spark.tables.item_features import (
    CATEGORY_FIGURES,
    MAX_SILENCE_DAYS,
    NUM_TOP_CATEGORIES,
    OF_ITEMS,
    OF_PAIRS,
    TASTES,
)


def item_features(item_days: DataFrame, *, days: Sequence[date]) -> DataFrame:
    """One row per item and as_of in `days`, as gold.item_features declares.

    Needs every version of gold.item_days. An item appears from the day after the first event known.
    """
    seen = seen_days(item_days, days, ITEM_DAYS)
    return features_from_days(seen, OF_ITEMS, by=("item_id",)).select(ITEM_FEATURES.schema.names)


def pair_features(
    customer_item_days: DataFrame, *, days: Sequence[date], persons: DataFrame | None = None
) -> DataFrame:
    """One row per customer, item of the last `MAX_SILENCE_DAYS` and as_of in `days`, as gold.pair_features declares.

    Needs every version of gold.customer_item_days. `persons` maps ids to the person known on each of `days`.
    """
    seen = seen_days(of_named_customers(customer_item_days), days, CUSTOMER_ITEM_DAYS)
    seen = of_persons(seen, persons, CUSTOMER_ITEM_DAYS)
    pairs = features_from_days(seen, OF_PAIRS, by=(KEY, "item_id"))
    return pairs.where(F.col("recency_days") <= MAX_SILENCE_DAYS).select(PAIR_FEATURES.schema.names)


def of_named_customers(customer_item_days: DataFrame) -> DataFrame:
    """The rows of customers, without those of all guests together."""
    return customer_item_days.where(F.col("customer_id") != GUEST)


def customer_categories(pairs: DataFrame) -> DataFrame:
    """One row per customer, category and as_of, as gold.customer_categories declares, from rows of gold.pair_features."""
    figures = (F.expr(figure.sql).alias(figure.name) for figure in CATEGORY_FIGURES)
    return pairs.groupBy(KEY, "category", "as_of").agg(*figures).select(CUSTOMER_CATEGORIES.schema.names)


def customer_tastes(categories: DataFrame) -> DataFrame:
    """One row per customer and as_of, as gold.customer_tastes declares, from rows of gold.customer_categories."""
    figures = (F.sum(figure.name).alias(figure.name) for figure in CATEGORY_FIGURES)
    tastes = (column for name, figure, _ in TASTES for column in _taste(name, figure))
    return categories.groupBy(KEY, "as_of").agg(*figures, *tastes).select(CUSTOMER_TASTES.schema.names)


def _taste(name: str, figure: str) -> tuple[Column, ...]:
    days = figure.rsplit("_", 1)[1]
    counts = F.when(F.col("category").isNotNull() & (F.col(figure) > 0), F.col(figure))
    total = F.sum(counts)
    ranked = F.array_sort(F.collect_list(F.when(counts.isNotNull(), F.struct((-counts).alias("less"), "category"))))
    # With n_i of n in all: log2(n) - sum(n_i log2(n_i)) / n. Rounding must not make a single category less than 0.
    # Decimals, as a sum of doubles depends in its last digits on the order of the rows.
    entropy = F.log2(total) - F.sum((counts * F.log2(counts)).cast("decimal(28, 12)")).cast("double") / total
    return (
        F.count(counts).alias(f"num_{name}_categories_{days}"),
        F.slice(ranked["category"], 1, NUM_TOP_CATEGORIES).alias(f"top_{name}_categories_{days}"),
        (F.max(counts) / total).alias(f"top_{name}_category_{days}_share"),
        F.when(entropy.isNotNull(), F.greatest(entropy, F.lit(0.0))).alias(f"{name}_entropy_{days}"),
    )
