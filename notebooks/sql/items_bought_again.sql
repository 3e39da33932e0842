-- Which items bring customers back: the share of their customers' purchase days that were not the
-- first with the item in 90 days.
SELECT
    item_id,
    category,
    num_buyers_90d,
    num_lines_90d,
    round(100 * repeat_90d_share, 1) AS repeat_percent,
    round(100 * lines_per_view_90d, 1) AS lines_per_100_views,
    round(mean_price_90d_cents / 100, 2) AS mean_price
FROM gold.item_features
WHERE
    as_of = (SELECT max(latest.as_of) FROM gold.item_features AS latest)
    AND num_buyers_90d >= 5
ORDER BY repeat_90d_share DESC, item_id ASC
LIMIT 50
