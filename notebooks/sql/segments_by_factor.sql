-- Which habits make a segment: its mean scores of the factors, in their standard deviations.
WITH factors AS (
    SELECT
        factor,
        as_of,
        max(words) AS habits
    FROM gold.factor_loadings
    GROUP BY factor, as_of
)

SELECT
    segments.segment,
    profiles.name,
    factors.factor,
    factors.habits,
    count(*) AS num_customers,
    round(avg(scores.score), 2) AS mean_score
FROM gold.customer_factors AS scores
INNER JOIN factors
    ON scores.factor = factors.factor AND scores.as_of = factors.as_of
INNER JOIN gold.segments AS segments
    ON scores.customer_id = segments.customer_id AND scores.as_of = segments.as_of
INNER JOIN gold.segment_profiles AS profiles
    ON segments.segment = profiles.segment AND segments.as_of = profiles.as_of
WHERE scores.as_of = (SELECT max(latest.as_of) FROM gold.customer_factors AS latest)
GROUP BY segments.segment, profiles.name, factors.factor, factors.habits
ORDER BY factors.factor ASC, mean_score DESC
