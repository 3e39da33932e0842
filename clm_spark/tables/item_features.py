"""Every feature of an item, of a customer with an item and of a customer's tastes, declared once, as the customers' are."""

from clm_spark.tables.feature import (
    LONG_DAYS,
    NET_REVENUE,
    Age,
    Derived,
    Feature,
    Last,
    Sum,
    distinct,
    ratio,
    share,
    trend,
    windowed,
)
from clm_spark.tables.measures import Measure

BOUGHT, VIEWED = "num_lines > 0", "num_views > 0"

# Merged from gold.item_days. Customers are counted by the id in their events.
OF_ITEMS: tuple[Feature, ...] = (
    Last("category", "the category on the last day that names one; null: none", of="category"),
    # How old, and how lately wanted.
    Age("age_days", "days since the first event", of="first"),
    Age("recency_days", "days since the last event of any kind", of="last"),
    Age("first_sale_days", "days since it was first bought; null: never", of="first", where=BOUGHT),
    Age("sale_recency_days", "days since it was last bought; null: never", of="last", where=BOUGHT),
    # How popular.
    *windowed("num_impressions", "times it was shown", "num_impressions", (7, 30, 90)),
    *windowed("num_clicks", "times it was clicked where it was shown", "num_clicks", (7, 30, 90)),
    *windowed("num_views", "times it was viewed or clicked", "num_views", (1, 7, 30, 60, 90, 365)),
    *windowed("num_carts", "times it was put into a cart", "num_carts", (1, 7, 30, 90, 365)),
    *windowed("num_lines", "basket lines with it", "num_lines", (1, 7, 30, 60, 90, 365, None)),
    *windowed("num_units", "units sold", "num_units", (7, *LONG_DAYS, None)),
    *windowed("revenue_cents", "sold for, before refunds", "revenue_cents", (7, *LONG_DAYS)),
    *windowed("net_revenue_cents", "sold for, less refunds", NET_REVENUE, (7, *LONG_DAYS, None)),
    *windowed("discount_cents", "taken off list prices", "discount_cents", LONG_DAYS),
    *windowed("list_price_cents", "list price of what was sold", "revenue_cents + discount_cents", LONG_DAYS),
    *windowed("num_refunds", "lines refunded", "num_refunds", LONG_DAYS),
    *windowed("num_reviews", "reviews", "num_reviews", LONG_DAYS),
    trend("views_trend", "views", "num_views", 30),
    trend("lines_trend", "basket lines", "num_lines", 30),
    # Whom it reaches.
    *distinct("num_viewers", "customers who viewed it", "viewers", (7, *LONG_DAYS)),
    *distinct("num_buyers", "customers who bought it", "buyers", (7, *LONG_DAYS, None)),
    *windowed("num_viewer_days", "customers who viewed it, summed over days,", "num_viewer_days", (30, 90)),
    *windowed("num_buyer_days", "customers who bought it, summed over days,", "num_buyer_days", LONG_DAYS),
    *windowed("num_co_views", "other items that its viewers viewed the same day, summed,", "num_co_views", (30, 90)),
    *ratio("co_views_per_viewer", "other items viewed the same day", "num_co_views", "num_viewer_days", (30, 90)),
    # How well it sells.
    *ratio("mean_price_cents", "paid per unit", "revenue_cents", "num_units", LONG_DAYS),
    *ratio("mean_list_price_cents", "list price per unit sold", "list_price_cents", "num_units", LONG_DAYS),
    *share("discount", "discount over list price of what was sold", "discount_cents", "list_price_cents", LONG_DAYS),
    *ratio("clicks_per_impression", "clicked of the times it was shown", "num_clicks", "num_impressions", (30, 90)),
    *ratio("carts_per_view", "put into carts over viewed", "num_carts", "num_views", LONG_DAYS),
    *ratio("lines_per_view", "basket lines over views: conversion", "num_lines", "num_views", LONG_DAYS),
    *ratio(
        "buyers_per_viewer", "customers who bought it over those who viewed it", "num_buyers", "num_viewers", LONG_DAYS
    ),
    *ratio("refunds_per_line", "lines refunded over lines sold", "num_refunds", "num_lines", LONG_DAYS),
    *(
        Derived(
            f"repeat_{days}d_share",
            f"of the days on which a customer bought it, those that were not that customer's first in the last {days} "
            "days; null: none",
            # Beyond what a sketch counts exactly, its error must not make it negative.
            f"CASE WHEN num_buyer_days_{days}d > 0 THEN greatest(1 - num_buyers_{days}d / num_buyer_days_{days}d, 0D) END",
            check="{} BETWEEN 0 AND 1",
        )
        for days in LONG_DAYS
    ),
)

_NUM_GAPS = "num_purchase_days - 1"
MAX_SILENCE_DAYS = 365  # a pair that is silent for longer is left out: the table would grow for ever

# Merged from gold.customer_item_days, persons' ids as one.
OF_PAIRS: tuple[Feature, ...] = (
    Last("category", "the category last seen; null: none", of="category"),
    Age("first_seen_days", "days since the first event", of="first"),
    Age("recency_days", "days since the last event of any kind", of="last"),
    Age("view_recency_days", "days since the last view; null: never viewed", of="last", where=VIEWED),
    Age("first_purchase_days", "days since the first purchase; null: never bought", of="first", where=BOUGHT),
    Age("purchase_recency_days", "days since the last purchase; null: never bought", of="last", where=BOUGHT),
    *windowed("num_impressions", "times it was shown", "num_impressions", (30,)),
    *windowed("num_views", "times it was viewed or clicked", "num_views", (7, 30, 90, None)),
    *windowed("num_carts", "times it was put into the cart", "num_carts", (7, 30, 90, None)),
    *windowed("num_lines", "basket lines with it", "num_lines", (30, 90, 365, None)),
    *windowed("num_units", "units bought", "num_units", (90, 365, None)),
    *windowed("net_revenue_cents", "bought less refunded", NET_REVENUE, (90, 365, None)),
    *windowed("num_refunds", "lines refunded", "num_refunds", (365, None)),
    Sum("num_purchase_days", "days with a purchase ever", of=f"CAST({BOUGHT} AS BIGINT)"),
    Derived(
        "mean_gap_days",
        "mean days between purchase days; null: fewer than two",
        f"try_divide(first_purchase_days - purchase_recency_days, {_NUM_GAPS})",
    ),
    Derived(
        "overdue_ratio",
        "days since the last purchase over the mean gap: from 1 on it is due; null: fewer than two purchase days",
        f"try_divide(purchase_recency_days * ({_NUM_GAPS}), first_purchase_days - purchase_recency_days)",
    ),
)

# Over the pairs of a customer with the items of one category.
CATEGORY_FIGURES = (
    Measure("num_viewed_items_90d", "different items viewed in the last 90 days", "count_if(num_views_90d > 0)"),
    Measure("num_views_90d", "items viewed or clicked in the last 90 days", "sum(num_views_90d)"),
    Measure("num_carts_90d", "items put into the cart in the last 90 days", "sum(num_carts_90d)"),
    Measure("num_bought_items_365d", "different items bought in the last 365 days", "count_if(num_lines_365d > 0)"),
    Measure("num_rebought_items", "items bought on more than one day ever", "count_if(num_purchase_days > 1)"),
    Measure("num_lines_365d", "basket lines bought in the last 365 days", "sum(num_lines_365d)"),
    Measure("num_units_365d", "units bought in the last 365 days", "sum(num_units_365d)"),
)
# How strongly a customer takes to a category, by what and over which days: name, figure of the category, in words.
TASTES = (
    ("viewed", "num_views_90d", "viewed in the last 90 days"),
    ("bought", "num_lines_365d", "bought in the last 365 days"),
)
NUM_TOP_CATEGORIES = 3
