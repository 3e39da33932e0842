"""Every feature of a customer, declared once: gold.customer_features, its comments and rules, and how it is computed."""

from clm_spark.tables.feature import (
    LONG_DAYS,
    NET_REVENUE,
    Age,
    Derived,
    Feature,
    SquaredGaps,
    Sum,
    ratio,
    share,
    trend,
    windowed,
)

WINDOWS = (1, 7, 30, 90, 180, 365)
BOUGHT = "num_orders > 0"
# Refunds, reviews and campaigns come after the customer has left, too.
SHOPPED = "num_views + num_searches + num_carts + num_lines > 0"
_SHOPPED_MEANS = "a view, a search, a cart or a purchase"
_IS_WEEKEND = "dayofweek(day_on) IN (1, 7)"

RECENCY: tuple[Feature, ...] = (
    Age("tenure_days", "days since the first event", of="first"),
    Age("recency_days", "days since the last event of any kind", of="last"),
    Age("first_purchase_days", "days since the first purchase; null: never bought", of="first", where=BOUGHT),
    Age("purchase_recency_days", "days since the last purchase; null: never bought", of="last", where=BOUGHT),
    Age(
        "first_shopping_days", f"days since the first day with {_SHOPPED_MEANS}; null: none", of="first", where=SHOPPED
    ),
    Age(
        "shopping_recency_days", f"days since the last day with {_SHOPPED_MEANS}; null: none", of="last", where=SHOPPED
    ),
)

# How often and how much, in every window and ever.
EXTENT = (
    *windowed("num_active_days", "days with any event", "1", WINDOWS),
    Sum(
        "num_shopping_days",
        f"days with {_SHOPPED_MEANS} ever; null: made before release 0.2",
        f"CAST({SHOPPED} AS BIGINT)",
        is_nullable=True,
    ),
    *windowed("num_visits", "visits", "num_visits", (*WINDOWS, None)),
    *windowed("num_views", "items viewed or clicked", "num_views", (*WINDOWS, None)),
    *windowed("num_carts", "items put into the cart", "num_carts", (*WINDOWS, None)),
    *windowed("num_orders", "baskets bought", "num_orders", (*WINDOWS[:3], 60, *WINDOWS[3:], None)),
    *windowed("num_lines", "basket lines bought", "num_lines", (*WINDOWS, None)),
    *windowed("net_revenue_cents", "bought less refunded", NET_REVENUE, (*WINDOWS, None)),
)

PURCHASES: tuple[Feature, ...] = (
    *windowed("num_purchase_days", "days with a purchase", f"CAST({BOUGHT} AS BIGINT)", (*LONG_DAYS, None)),
    SquaredGaps(
        "squared_gaps",
        "squared days from each purchase day to the next, summed: how even the pace is",
        where=BOUGHT,
        recency="purchase_recency_days",
    ),
    *windowed("num_units", "units bought", "num_units", LONG_DAYS),
    *windowed("revenue_cents", "bought, before refunds", "revenue_cents", (*LONG_DAYS, None)),
    *windowed("discount_cents", "taken off list prices", "discount_cents", (7, *LONG_DAYS)),
    *windowed("list_price_cents", "list price of what was bought", "revenue_cents + discount_cents", (7, *LONG_DAYS)),
    *windowed("num_discounted_lines", "basket lines bought below list price", "num_discounted_lines", LONG_DAYS),
    *windowed("num_refunds", "lines refunded", "num_refunds", LONG_DAYS),
    *windowed("refund_cents", "paid back", "refund_cents", LONG_DAYS),
)

ENGAGEMENT = (
    *windowed("num_acts", "events of the customer's own doing", "num_acts", LONG_DAYS),
    *windowed("num_searches", "searches", "num_searches", LONG_DAYS),
    *windowed("num_reviews", "reviews written", "num_reviews", LONG_DAYS),
    *windowed("num_campaigns", "campaigns received", "num_campaigns", (7, *LONG_DAYS)),
    *windowed("num_coupons", "coupons redeemed", "num_coupons", (7, *LONG_DAYS)),
    *windowed("visit_seconds", "from first to last event, summed over visits", "visit_seconds", LONG_DAYS),
    *windowed("num_bounces", "visits of a single event", "num_bounces", LONG_DAYS),
    *windowed("num_buying_visits", "visits with a purchase", "num_buying_visits", LONG_DAYS),
    *windowed("num_cart_visits", "visits that put something into the cart", "num_cart_visits", LONG_DAYS),
    *windowed(
        "num_abandoned_visits", "visits that left a full cart and bought nothing", "num_abandoned_visits", LONG_DAYS
    ),
)

HOURS_AND_WAYS = (
    *windowed(
        "num_weekend_days", "days with any event on a Saturday or Sunday", f"CAST({_IS_WEEKEND} AS BIGINT)", (90,)
    ),
    *windowed("num_night_acts", "acts from midnight to six by the shop's clock", "num_night_acts", (90,)),
    *windowed("num_morning_acts", "acts from six to noon by the shop's clock", "num_morning_acts", (90,)),
    *windowed("num_afternoon_acts", "acts from noon to six by the shop's clock", "num_afternoon_acts", (90,)),
    *windowed("num_device_acts", "acts whose device the log names", "num_device_acts", (90,)),
    *windowed("num_mobile_acts", "acts on a phone or tablet", "num_mobile_acts", (90,)),
    *windowed("num_channel_acts", "acts of which the log says what brought the customer", "num_channel_acts", (90,)),
    *windowed("num_paid_acts", "acts brought by advertising", "num_paid_acts", (90,)),
    *windowed("num_email_acts", "acts brought by e-mail", "num_email_acts", (90,)),
)

_NUM_GAPS = "num_purchase_days - 1"
_MEAN_GAP = f"try_divide(first_purchase_days - purchase_recency_days, {_NUM_GAPS})"
_MEAN_SHOPPING_GAP = "try_divide(first_shopping_days - shopping_recency_days, num_shopping_days - 1)"

PACE = (
    Derived("mean_gap_days", "mean days between purchase days; null: fewer than two", _MEAN_GAP),
    Derived(
        "gap_variation",
        "standard deviation of the days between purchase days over their mean: 0 is like clockwork; null: fewer than "
        "three purchase days",
        # The variance of the gaps, as the mean of their squares less the square of their mean.
        f"CASE WHEN num_purchase_days > 2 THEN "
        f"sqrt(greatest(squared_gaps / ({_NUM_GAPS}) - power({_MEAN_GAP}, 2), 0D)) / {_MEAN_GAP} END",
        check="{} >= 0",
    ),
    Derived(
        "overdue_ratio",
        "days since the last purchase over the mean gap; null: fewer than two purchase days",
        f"try_divide(purchase_recency_days, {_MEAN_GAP})",
    ),
    Derived(
        "mean_shopping_gap_days",
        f"mean days between days with {_SHOPPED_MEANS}; null: fewer than two",
        _MEAN_SHOPPING_GAP,
    ),
    Derived(
        "shopping_overdue_ratio",
        f"days since the last day with {_SHOPPED_MEANS} over the mean gap of such days; null: fewer than two",
        f"try_divide(shopping_recency_days, {_MEAN_SHOPPING_GAP})",
    ),
    Derived(
        "seen_after_purchase_days",
        f"days from the last purchase to the last day with {_SHOPPED_MEANS}; 0: not seen since; null: never bought",
        "purchase_recency_days - shopping_recency_days",
        check="{} >= 0",
    ),
)


TRENDS = (
    trend("orders_trend", "baskets", "num_orders", 30),
    trend("orders_trend_90d", "baskets", "num_orders", 90),
    trend("visits_trend_90d", "visits", "num_visits", 90),
    trend("views_trend_90d", "views", "num_views", 90),
)

BASKETS = (
    Derived("mean_order_cents", "revenue over baskets; null: never bought", "try_divide(revenue_cents, num_orders)"),
    *ratio("mean_order_cents", "revenue over baskets", "revenue_cents", "num_orders", LONG_DAYS),
    *ratio("units_per_order", "units over baskets", "num_units", "num_orders", LONG_DAYS),
    *ratio("lines_per_order", "different lines over baskets", "num_lines", "num_orders", LONG_DAYS),
    *share(
        "discount", "discount over list price of what was bought", "discount_cents", "list_price_cents", (7, *LONG_DAYS)
    ),
    *share("discounted_lines", "basket lines bought below list price", "num_discounted_lines", "num_lines", LONG_DAYS),
    *ratio("refunds_per_line", "lines refunded over lines bought", "num_refunds", "num_lines", LONG_DAYS),
)

CONVERSION = (
    *ratio("carts_per_view", "items put into the cart over items viewed", "num_carts", "num_views", LONG_DAYS),
    *ratio("lines_per_view", "lines bought over items viewed", "num_lines", "num_views", LONG_DAYS),
    *ratio(
        "coupons_per_campaign", "coupons redeemed over campaigns received", "num_coupons", "num_campaigns", LONG_DAYS
    ),
    *share("buying_visits", "visits with a purchase", "num_buying_visits", "num_visits", LONG_DAYS),
    *share(
        "abandoned_carts",
        "visits with a full cart and no purchase, of those with a cart",
        "num_abandoned_visits",
        "num_cart_visits",
        LONG_DAYS,
    ),
    *share("bounces", "visits of a single event", "num_bounces", "num_visits", LONG_DAYS),
    *ratio("acts_per_visit", "events per visit: its depth", "num_acts", "num_visits", LONG_DAYS),
    *ratio("mean_visit_seconds", "length of a visit", "visit_seconds", "num_visits", LONG_DAYS),
)

SHARES_OF_ACTS = (
    *share("weekend_days", "active days on a weekend", "num_weekend_days", "num_active_days", (90,)),
    *share("night_acts", "acts at night", "num_night_acts", "num_acts", (90,)),
    *share("morning_acts", "acts in the morning", "num_morning_acts", "num_acts", (90,)),
    *share("afternoon_acts", "acts in the afternoon", "num_afternoon_acts", "num_acts", (90,)),
    *share(
        "mobile_acts",
        "acts on a phone or tablet, of those whose device is known",
        "num_mobile_acts",
        "num_device_acts",
        (90,),
    ),
    *share(
        "paid_acts",
        "acts brought by advertising, of those whose way is known",
        "num_paid_acts",
        "num_channel_acts",
        (90,),
    ),
    *share(
        "email_acts", "acts brought by e-mail, of those whose way is known", "num_email_acts", "num_channel_acts", (90,)
    ),
)

FEATURES: tuple[Feature, ...] = (
    *RECENCY,
    *EXTENT,
    *PURCHASES,
    *ENGAGEMENT,
    *HOURS_AND_WAYS,
    *PACE,
    *TRENDS,
    *BASKETS,
    *CONVERSION,
    *SHARES_OF_ACTS,
)
