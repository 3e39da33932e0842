-- Whom to call first: of the tenth most likely to leave, those whose last 90 days were worth most.
SELECT
    scores.customer_id,
    segments.segment,
    features.purchase_recency_days,
    round(scores.value, 3) AS churn_probability,
    features.net_revenue_90d_cents / 100 AS net_revenue_90d,
    round(scores.value * features.net_revenue_90d_cents / 100, 2) AS revenue_at_risk
FROM gold.customer_scores AS scores
INNER JOIN gold.customer_features AS features
    ON scores.customer_id = features.customer_id AND scores.as_of = features.as_of
LEFT JOIN gold.segments AS segments
    ON scores.customer_id = segments.customer_id AND scores.as_of = segments.as_of
WHERE
    scores.score = 'churn'
    AND scores.decile = 1
    AND scores.as_of = (
        SELECT max(latest.as_of)
        FROM gold.customer_scores AS latest
        WHERE latest.score = 'churn'
    )
ORDER BY revenue_at_risk DESC, scores.customer_id ASC
LIMIT 20
