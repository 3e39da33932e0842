"""Customer features as one would write them for DuckDB: from the whole log, for one day, knowing nothing of partials.

Written apart from the declarations, so that it is an oracle for the tests and the baseline of the benchmark.
"""

from datetime import date

WINDOWS = (1, 7, 30, 90, 180, 365)
LONG_DAYS = (30, 90, 365)
QUARTER = (90,)

# What is summed over days, and over which windows; None is ever.
SUMS = {
    "num_active_days": ("1", WINDOWS),
    "num_visits": ("num_visits", (*WINDOWS, None)),
    "num_views": ("num_views", (*WINDOWS, None)),
    "num_carts": ("num_carts", (*WINDOWS, None)),
    "num_orders": ("num_orders", (1, 7, 30, 60, 90, 180, 365, None)),
    "num_lines": ("num_lines", (*WINDOWS, None)),
    "net_revenue_cents": ("revenue - refund", (*WINDOWS, None)),
    "num_purchase_days": ("(num_orders > 0)::BIGINT", (*LONG_DAYS, None)),
    "num_units": ("num_units", LONG_DAYS),
    "revenue_cents": ("revenue", (*LONG_DAYS, None)),
    "discount_cents": ("discount", (7, *LONG_DAYS)),
    "list_price_cents": ("revenue + discount", (7, *LONG_DAYS)),
    "num_discounted_lines": ("num_discounted", LONG_DAYS),
    "num_refunds": ("num_refunds", LONG_DAYS),
    "refund_cents": ("refund", LONG_DAYS),
    "num_acts": ("num_acts", LONG_DAYS),
    "num_searches": ("num_searches", LONG_DAYS),
    "num_reviews": ("num_reviews", LONG_DAYS),
    "num_campaigns": ("num_campaigns", (7, *LONG_DAYS)),
    "num_coupons": ("num_coupons", (7, *LONG_DAYS)),
    "visit_seconds": ("visit_seconds", LONG_DAYS),
    "num_bounces": ("num_bounces", LONG_DAYS),
    "num_buying_visits": ("num_buying_visits", LONG_DAYS),
    "num_cart_visits": ("num_cart_visits", LONG_DAYS),
    "num_abandoned_visits": ("num_abandoned_visits", LONG_DAYS),
    "num_weekend_days": ("(isodow(day_on) >= 6)::BIGINT", QUARTER),
    "num_night_acts": ("num_night", QUARTER),
    "num_morning_acts": ("num_morning", QUARTER),
    "num_afternoon_acts": ("num_afternoon", QUARTER),
    "num_device_acts": ("num_device", QUARTER),
    "num_mobile_acts": ("num_mobile", QUARTER),
    "num_channel_acts": ("num_channel", QUARTER),
    "num_paid_acts": ("num_paid", QUARTER),
    "num_email_acts": ("num_email", QUARTER),
}
# Ratios: above, below, windows.
RATIOS = {
    "mean_order_cents": ("revenue_cents", "num_orders", (*LONG_DAYS, None)),
    "units_per_order": ("num_units", "num_orders", LONG_DAYS),
    "lines_per_order": ("num_lines", "num_orders", LONG_DAYS),
    "discount_share": ("discount_cents", "list_price_cents", (7, *LONG_DAYS)),
    "discounted_lines_share": ("num_discounted_lines", "num_lines", LONG_DAYS),
    "refunds_per_line": ("num_refunds", "num_lines", LONG_DAYS),
    "carts_per_view": ("num_carts", "num_views", LONG_DAYS),
    "lines_per_view": ("num_lines", "num_views", LONG_DAYS),
    "coupons_per_campaign": ("num_coupons", "num_campaigns", LONG_DAYS),
    "buying_visits_share": ("num_buying_visits", "num_visits", LONG_DAYS),
    "abandoned_carts_share": ("num_abandoned_visits", "num_cart_visits", LONG_DAYS),
    "bounces_share": ("num_bounces", "num_visits", LONG_DAYS),
    "acts_per_visit": ("num_acts", "num_visits", LONG_DAYS),
    "mean_visit_seconds": ("visit_seconds", "num_visits", LONG_DAYS),
    "weekend_days_share": ("num_weekend_days", "num_active_days", QUARTER),
    "night_acts_share": ("num_night_acts", "num_acts", QUARTER),
    "morning_acts_share": ("num_morning_acts", "num_acts", QUARTER),
    "afternoon_acts_share": ("num_afternoon_acts", "num_acts", QUARTER),
    "mobile_acts_share": ("num_mobile_acts", "num_device_acts", QUARTER),
    "paid_acts_share": ("num_paid_acts", "num_channel_acts", QUARTER),
    "email_acts_share": ("num_email_acts", "num_channel_acts", QUARTER),
}
TRENDS = {
    "orders_trend": ("num_orders", 30),
    "orders_trend_90d": ("num_orders", 90),
    "visits_trend_90d": ("num_visits", 90),
    "views_trend_90d": ("num_views", 90),
}


def features_sql(events: str, *, as_of: date, max_gap_minutes: int = 30) -> str:
    """A row per customer known on the morning of `as_of`; `events` is a relation with the columns of silver.events."""
    sums = [
        f"coalesce(sum({of}){f' FILTER (WHERE age <= {days})' if days else ''}, 0)::BIGINT AS {named(stem, days)}"
        for stem, (of, windows) in SUMS.items()
        for days in windows
    ]
    ratios = [
        f"{named(above, days)} / nullif({named(below, days)}, 0) AS {named(stem, days)}"
        for stem, (above, below, windows) in RATIOS.items()
        for days in windows
    ]
    trends = [
        f"({stem}_{days}d + 1) / ({stem}_{2 * days}d - {stem}_{days}d + 1) AS {name}"
        for name, (stem, days) in TRENDS.items()
    ]
    return f"""
WITH known AS (
  SELECT *, occurred_at::DATE AS day_on, kind NOT IN ('campaign_sent', 'impression') AS is_act
  FROM {events} WHERE occurred_at < TIMESTAMP '{as_of}' AND known_at < TIMESTAMP '{as_of}'
),
marked AS (
  SELECT *, is_act AND coalesce(
      occurred_at - lag(occurred_at) OVER (PARTITION BY customer_id, is_act ORDER BY occurred_at)
      > INTERVAL {max_gap_minutes} MINUTE, true)::BOOLEAN AS is_first
  FROM known
),
numbered AS (
  SELECT *, CASE WHEN is_act THEN sum(is_first::INT) OVER (
      PARTITION BY customer_id, is_act ORDER BY occurred_at, is_first DESC ROWS UNBOUNDED PRECEDING) END AS visit
  FROM marked
),
acts AS (
  SELECT customer_id, day_on,
    count(*) FILTER (WHERE is_act) AS num_acts, count(*) AS num_events,
    count(*) FILTER (WHERE kind IN ('view', 'click')) AS num_views,
    count(*) FILTER (WHERE kind = 'search') AS num_searches,
    count(*) FILTER (WHERE kind = 'cart') AS num_carts,
    count(*) FILTER (WHERE kind = 'purchase') AS num_lines,
    count(*) FILTER (WHERE kind = 'purchase' AND discount_cents > 0) AS num_discounted,
    count(*) FILTER (WHERE kind = 'refund') AS num_refunds,
    count(*) FILTER (WHERE kind = 'campaign_sent') AS num_campaigns,
    count(*) FILTER (WHERE kind = 'coupon_redeemed') AS num_coupons,
    count(*) FILTER (WHERE kind = 'review') AS num_reviews,
    sum(quantity) FILTER (WHERE kind = 'purchase') AS num_units,
    sum(amount_cents) FILTER (WHERE kind = 'purchase') AS revenue,
    sum(amount_cents) FILTER (WHERE kind = 'refund') AS refund,
    sum(discount_cents) FILTER (WHERE kind = 'purchase') AS discount,
    count(*) FILTER (WHERE is_act AND hour(occurred_at) < 6) AS num_night,
    count(*) FILTER (WHERE is_act AND hour(occurred_at) BETWEEN 6 AND 11) AS num_morning,
    count(*) FILTER (WHERE is_act AND hour(occurred_at) BETWEEN 12 AND 17) AS num_afternoon,
    count(*) FILTER (WHERE is_act AND attributes['device'] IS NOT NULL) AS num_device,
    count(*) FILTER (WHERE is_act AND lower(attributes['device']) IN ('phone', 'mobile', 'smartphone', 'tablet')) AS num_mobile,
    count(*) FILTER (WHERE is_act AND attributes['channel'] IS NOT NULL) AS num_channel,
    count(*) FILTER (WHERE is_act AND lower(attributes['channel']) IN ('ads', 'paid', 'cpc', 'display')) AS num_paid,
    count(*) FILTER (WHERE is_act AND lower(attributes['channel']) IN ('email', 'e-mail', 'newsletter')) AS num_email
  FROM numbered GROUP BY ALL
),
whole AS (
  SELECT customer_id, visit, min(day_on) AS day_on, count(*) AS num_acts,
    count(*) FILTER (WHERE kind = 'cart') AS num_carts, count(*) FILTER (WHERE kind = 'purchase') AS num_lines,
    (epoch_us(max(occurred_at)) - epoch_us(min(occurred_at))) // 1000000 AS seconds
  FROM numbered WHERE visit IS NOT NULL GROUP BY customer_id, visit
),
visits AS (
  SELECT customer_id, day_on, count(*) AS num_visits, sum(seconds) AS visit_seconds,
    count(*) FILTER (WHERE num_acts = 1) AS num_bounces,
    count(*) FILTER (WHERE num_lines > 0) AS num_buying_visits,
    count(*) FILTER (WHERE num_carts > 0) AS num_cart_visits,
    count(*) FILTER (WHERE num_carts > 0 AND num_lines = 0) AS num_abandoned_visits
  FROM whole GROUP BY ALL
),
bought AS (SELECT DISTINCT customer_id, day_on, coalesce(order_id, event_id) AS order_id FROM known WHERE kind = 'purchase'),
orders AS (
  SELECT customer_id, day_on, count(*) AS num_orders
  FROM bought ANTI JOIN (SELECT customer_id, day_on + 1 AS day_on, order_id FROM bought) USING (customer_id, day_on, order_id)
  GROUP BY ALL
),
days AS (
  SELECT customer_id, day_on, date_diff('day', day_on, DATE '{as_of}') AS age, coalesce(num_orders, 0) AS num_orders,
    {", ".join(f"coalesce({name}, 0) AS {name}" for name in OF_VISITS)},
    {", ".join(ADDED)},
    {", ".join(f"coalesce({name}, 0) AS {name}" for name in ("num_units", "revenue", "refund", "discount"))}
  FROM acts LEFT JOIN orders USING (customer_id, day_on) LEFT JOIN visits USING (customer_id, day_on)
),
spaced AS (
  SELECT *, CASE WHEN num_orders > 0 THEN
      age - lag(age) OVER (PARTITION BY customer_id, num_orders > 0 ORDER BY age) END AS gap
  FROM days
),
merged AS (
  SELECT customer_id, max(age) AS tenure_days, min(age) AS recency_days,
    max(age) FILTER (WHERE num_orders > 0) AS first_purchase_days,
    min(age) FILTER (WHERE num_orders > 0) AS purchase_recency_days,
    max(age) FILTER (WHERE num_views > 0 OR num_searches > 0 OR num_carts > 0 OR num_lines > 0) AS first_shopping_days,
    min(age) FILTER (WHERE num_views > 0 OR num_searches > 0 OR num_carts > 0 OR num_lines > 0) AS shopping_recency_days,
    count(*) FILTER (WHERE num_views > 0 OR num_searches > 0 OR num_carts > 0 OR num_lines > 0) AS num_shopping_days,
    coalesce(sum(gap * gap), 0)::BIGINT AS squared_gaps,
    {", ".join(sums)}
  FROM spaced GROUP BY customer_id
),
paced AS (
  SELECT *, (first_purchase_days - purchase_recency_days) / nullif(num_purchase_days - 1, 0) AS mean_gap_days,
    (first_shopping_days - shopping_recency_days) / nullif(num_shopping_days - 1, 0) AS mean_shopping_gap_days,
    (purchase_recency_days - shopping_recency_days)::DOUBLE AS seen_after_purchase_days
  FROM merged
)
SELECT *, purchase_recency_days / nullif(mean_gap_days, 0) AS overdue_ratio,
  shopping_recency_days / nullif(mean_shopping_gap_days, 0) AS shopping_overdue_ratio,
  CASE WHEN num_purchase_days > 2 THEN
    sqrt(greatest(squared_gaps / (num_purchase_days - 1) - mean_gap_days * mean_gap_days, 0)) / mean_gap_days END AS gap_variation,
  {", ".join(ratios + trends)}
FROM paced"""


OF_VISITS = (
    "num_visits", "visit_seconds", "num_bounces", "num_buying_visits", "num_cart_visits", "num_abandoned_visits",
)  # fmt: skip
ADDED = (
    "num_events", "num_acts", "num_views", "num_searches", "num_carts", "num_lines", "num_discounted", "num_refunds",
    "num_campaigns", "num_coupons", "num_reviews", "num_night", "num_morning", "num_afternoon", "num_device",
    "num_mobile", "num_channel", "num_paid", "num_email",
)  # fmt: skip


def named(stem: str, days: int | None) -> str:
    if days is None:
        return stem
    for unit in ("_cents", "_share", "_seconds"):
        if stem.endswith(unit):
            return f"{stem.removesuffix(unit)}_{days}d{unit}"
    return f"{stem}_{days}d"
