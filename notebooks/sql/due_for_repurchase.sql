-- Who is due to buy what again: bought on three days or more, and silent for longer than usual, but
-- not for more than twice as long.
SELECT
    customer_id,
    item_id,
    category,
    num_purchase_days,
    purchase_recency_days,
    round(mean_gap_days, 1) AS usual_gap_days,
    round(overdue_ratio, 2) AS overdue
FROM gold.pair_features
WHERE
    as_of = (SELECT max(latest.as_of) FROM gold.pair_features AS latest)
    AND num_purchase_days >= 3
    AND overdue_ratio BETWEEN 1 AND 2
ORDER BY num_purchase_days DESC, overdue DESC, customer_id ASC, item_id ASC
LIMIT 50
