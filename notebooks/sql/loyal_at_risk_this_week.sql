-- Which customers of three purchase days or more (growing, loyal) went at risk
-- in the last seven days, with what at stake, and why?
SELECT
    at_risk.customer_id,
    at_risk.since_on AS at_risk_since,
    at_risk.num_purchase_days,
    at_risk.reason,
    round(known.net_revenue_365d_cents / 100, 2) AS net_revenue_365d
FROM gold.lifecycle_stages AS at_risk
INNER JOIN gold.customer_features AS known
    ON at_risk.customer_id = known.customer_id AND at_risk.as_of = known.as_of
WHERE
    at_risk.as_of = (SELECT max(latest.as_of) FROM gold.lifecycle_stages AS latest)
    AND at_risk.stage = 'at_risk'
    AND at_risk.from_stage IN ('loyal', 'growing')
    AND at_risk.since_on > date_sub(at_risk.as_of, 7)
ORDER BY net_revenue_365d DESC, at_risk.customer_id ASC
LIMIT 50
