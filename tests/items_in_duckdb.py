"""Features of items, pairs and tastes as one would write them for DuckDB: from the whole log, for one day.

Written apart from the declarations, as `features_in_duckdb.py` is for the customers'.
"""

from datetime import date

from features_in_duckdb import named

LONG_DAYS = (30, 90, 365)
MONTHS = (30, 90)

ITEM_SUMS = {
    "num_impressions": ("kind = 'impression'", (7, *MONTHS)),
    "num_clicks": ("kind = 'click'", (7, *MONTHS)),
    "num_views": ("kind IN ('view', 'click')", (1, 7, 30, 60, 90, 365)),
    "num_carts": ("kind = 'cart'", (1, 7, 30, 90, 365)),
    "num_lines": ("kind = 'purchase'", (1, 7, 30, 60, 90, 365, None)),
    "num_refunds": ("kind = 'refund'", LONG_DAYS),
    "num_reviews": ("kind = 'review'", LONG_DAYS),
}
ITEM_MONEY = {
    "num_units": ("quantity", "kind = 'purchase'", (7, *LONG_DAYS, None)),
    "revenue_cents": ("amount_cents", "kind = 'purchase'", (7, *LONG_DAYS)),
    "net_revenue_cents": (
        "CASE kind WHEN 'purchase' THEN amount_cents WHEN 'refund' THEN -amount_cents END",
        "true",
        (7, *LONG_DAYS, None),
    ),
    "discount_cents": ("discount_cents", "kind = 'purchase'", LONG_DAYS),
    "list_price_cents": ("coalesce(amount_cents, 0) + coalesce(discount_cents, 0)", "kind = 'purchase'", LONG_DAYS),
}
ITEM_RATIOS = {
    "mean_price_cents": ("revenue_cents", "num_units", LONG_DAYS),
    "mean_list_price_cents": ("list_price_cents", "num_units", LONG_DAYS),
    "discount_share": ("discount_cents", "list_price_cents", LONG_DAYS),
    "clicks_per_impression": ("num_clicks", "num_impressions", MONTHS),
    "carts_per_view": ("num_carts", "num_views", LONG_DAYS),
    "lines_per_view": ("num_lines", "num_views", LONG_DAYS),
    "buyers_per_viewer": ("num_buyers", "num_viewers", LONG_DAYS),
    "refunds_per_line": ("num_refunds", "num_lines", LONG_DAYS),
    "co_views_per_viewer": ("num_co_views", "num_viewer_days", MONTHS),
}
PAIR_SUMS = {
    "num_impressions": ("kind = 'impression'", (30,)),
    "num_views": ("kind IN ('view', 'click')", (7, 30, 90, None)),
    "num_carts": ("kind = 'cart'", (7, 30, 90, None)),
    "num_lines": ("kind = 'purchase'", (30, 90, 365, None)),
    "num_refunds": ("kind = 'refund'", (365, None)),
}
PAIR_MONEY = {
    "num_units": ("quantity", "kind = 'purchase'", (90, 365, None)),
    "net_revenue_cents": (ITEM_MONEY["net_revenue_cents"][0], "true", (90, 365, None)),
}


def item_features_sql(events: str, *, as_of: date) -> str:
    """A row per item known on the morning of `as_of`; `events` is a relation with the columns of silver.events."""
    distinct = [
        f"count(DISTINCT customer_id) FILTER ({within(kinds, days)}) AS {named(stem, days)}"
        for stem, kinds, windows in (
            ("num_viewers", "kind IN ('view', 'click')", (7, *LONG_DAYS)),
            ("num_buyers", "kind = 'purchase'", (7, *LONG_DAYS, None)),
        )
        for days in windows
    ]
    of_days = [
        f"count(DISTINCT (customer_id, day_on)) FILTER ({within(kinds, days)}) AS {named(stem, days)}"
        for stem, kinds, windows in (
            ("num_viewer_days", "kind IN ('view', 'click')", MONTHS),
            ("num_buyer_days", "kind = 'purchase'", LONG_DAYS),
        )
        for days in windows
    ]
    co_views = [f"coalesce(sum(n - 1) FILTER (age <= {days}), 0)::BIGINT AS num_co_views_{days}d" for days in MONTHS]
    ratios = [
        f"{named(above, days)} / nullif({named(below, days)}, 0) AS {named(stem, days)}"
        for stem, (above, below, windows) in ITEM_RATIOS.items()
        for days in windows
    ]
    repeats = [f"1 - num_buyers_{d}d / nullif(num_buyer_days_{d}d, 0) AS repeat_{d}d_share" for d in LONG_DAYS]
    return f"""
WITH known AS ({known(events, as_of)}),
viewed AS (SELECT DISTINCT customer_id, day_on, age, item_id FROM known WHERE kind IN ('view', 'click')),
together AS (SELECT *, count(*) OVER (PARTITION BY customer_id, day_on) AS n FROM viewed),
co_views AS (SELECT item_id, {", ".join(co_views)} FROM together GROUP BY item_id),
merged AS (
  SELECT item_id, max(age) AS age_days, min(age) AS recency_days,
    max(age) FILTER (kind = 'purchase') AS first_sale_days, min(age) FILTER (kind = 'purchase') AS sale_recency_days,
    arg_max(category, (occurred_at, event_id)) FILTER (category IS NOT NULL) AS category,
    {", ".join(summed(ITEM_SUMS, ITEM_MONEY) + distinct + of_days)}
  FROM known GROUP BY item_id
),
joined AS (
  SELECT merged.*, {", ".join(f"coalesce(num_co_views_{d}d, 0) AS num_co_views_{d}d" for d in MONTHS)}
  FROM merged LEFT JOIN co_views USING (item_id)
)
SELECT *, {", ".join(ratios + repeats)},
  (num_views_30d + 1) / (num_views_60d - num_views_30d + 1) AS views_trend,
  (num_lines_30d + 1) / (num_lines_60d - num_lines_30d + 1) AS lines_trend
FROM joined"""


def pair_features_sql(events: str, *, as_of: date) -> str:
    """A row per customer and item known on the morning of `as_of`."""
    return f"""
WITH known AS ({known(events, as_of)}),
merged AS (
  SELECT customer_id, item_id, max(age) AS first_seen_days, min(age) AS recency_days,
    min(age) FILTER (kind IN ('view', 'click')) AS view_recency_days,
    max(age) FILTER (kind = 'purchase') AS first_purchase_days,
    min(age) FILTER (kind = 'purchase') AS purchase_recency_days,
    count(DISTINCT day_on) FILTER (kind = 'purchase') AS num_purchase_days,
    arg_max(category, (occurred_at, event_id)) FILTER (category IS NOT NULL) AS category,
    {", ".join(summed(PAIR_SUMS, PAIR_MONEY))}
  FROM known GROUP BY customer_id, item_id
),
spaced AS (
  SELECT *, (first_purchase_days - purchase_recency_days) / nullif(num_purchase_days - 1, 0) AS mean_gap_days FROM merged
)
SELECT *, purchase_recency_days / nullif(mean_gap_days, 0) AS overdue_ratio FROM spaced
WHERE recency_days <= 365"""


def categories_sql(events: str, *, as_of: date) -> str:
    """A row per customer and category known on the morning of `as_of`."""
    return f"""
WITH pairs AS ({pair_features_sql(events, as_of=as_of)})
SELECT customer_id, category,
  count(*) FILTER (num_views_90d > 0) AS num_viewed_items_90d, sum(num_views_90d)::BIGINT AS num_views_90d,
  sum(num_carts_90d)::BIGINT AS num_carts_90d, count(*) FILTER (num_lines_365d > 0) AS num_bought_items_365d,
  count(*) FILTER (num_purchase_days > 1) AS num_rebought_items,
  sum(num_lines_365d)::BIGINT AS num_lines_365d, sum(num_units_365d)::BIGINT AS num_units_365d
FROM pairs GROUP BY ALL"""


def tastes_sql(events: str, *, as_of: date) -> str:
    """A row per customer known on the morning of `as_of` with an item."""
    tastes = [
        f"""count(*) FILTER ({figure} > 0 AND category IS NOT NULL) AS num_{name}_categories_{days},
        coalesce((array_agg(category ORDER BY {figure} DESC, category) FILTER ({figure} > 0 AND category IS NOT NULL))[:3], [])
          AS top_{name}_categories_{days},
        max({figure}) FILTER (category IS NOT NULL) / nullif(sum({figure}) FILTER (category IS NOT NULL), 0)
          AS top_{name}_category_{days}_share,
        -sum({name}_share * log2({name}_share)) FILTER ({name}_share > 0) AS {name}_entropy_{days}"""
        for name, figure, days in (("viewed", "num_views_90d", "90d"), ("bought", "num_lines_365d", "365d"))
    ]
    return f"""
WITH categories AS ({categories_sql(events, as_of=as_of)}),
shared AS (
  SELECT *,
    num_views_90d / nullif(sum(num_views_90d) FILTER (category IS NOT NULL) OVER w, 0) AS viewed,
    num_lines_365d / nullif(sum(num_lines_365d) FILTER (category IS NOT NULL) OVER w, 0) AS bought
  FROM categories WINDOW w AS (PARTITION BY customer_id)
),
named AS (SELECT *, CASE WHEN category IS NOT NULL THEN viewed END AS viewed_share,
  CASE WHEN category IS NOT NULL THEN bought END AS bought_share FROM shared)
SELECT customer_id,
  {", ".join(f"sum({name})::BIGINT AS {name}" for name in CATEGORY_FIGURES)},
  {", ".join(tastes)}
FROM named GROUP BY customer_id"""


CATEGORY_FIGURES = (
    "num_viewed_items_90d", "num_views_90d", "num_carts_90d", "num_bought_items_365d", "num_rebought_items",
    "num_lines_365d", "num_units_365d",
)  # fmt: skip


def known(events: str, as_of: date) -> str:
    return f"""SELECT *, occurred_at::DATE AS day_on, date_diff('day', occurred_at::DATE, DATE '{as_of}') AS age
      FROM {events} WHERE occurred_at < TIMESTAMP '{as_of}' AND known_at < TIMESTAMP '{as_of}' AND item_id IS NOT NULL"""


def summed(counts: dict, money: dict) -> list[str]:
    return [
        f"count(*) FILTER ({within(kinds, days)}) AS {named(stem, days)}"
        for stem, (kinds, windows) in counts.items()
        for days in windows
    ] + [
        f"coalesce(sum({of}) FILTER ({within(kinds, days)}), 0)::BIGINT AS {named(stem, days)}"
        for stem, (of, kinds, windows) in money.items()
        for days in windows
    ]


def within(kinds: str, days: int | None) -> str:
    return kinds if days is None else f"{kinds} AND age <= {days}"
