-- Of those who bought for the first time in a month, how many buy in the months after it, and
-- for how much?
SELECT
    cohort_on,
    months_since,
    num_customers,
    num_active,
    round(100 * retention, 1) AS retention_percent,
    num_orders,
    round(net_revenue_cents / 100, 2) AS net_revenue
FROM gold.cohorts
WHERE as_of = (SELECT max(latest.as_of) FROM gold.cohorts AS latest)
ORDER BY cohort_on ASC, months_since ASC
