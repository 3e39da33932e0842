-- Who the customers are: the segments of the last day, by revenue when they were first made.
SELECT
    segment,
    name,
    description,
    num_customers,
    round(100 * customers_share, 1) AS customers_percent,
    round(100 * revenue_share, 1) AS revenue_percent,
    round(mean_recency_days, 1) AS mean_recency_days
FROM gold.segment_profiles
WHERE as_of = (SELECT max(profiles.as_of) FROM gold.segment_profiles AS profiles)
ORDER BY segment
