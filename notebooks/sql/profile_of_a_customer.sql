-- A customer calls: who is it, what do they like, when are they due, and what is at stake? Put the
-- customer_id into the WHERE; without one, these are the fifty of the highest expected value.
SELECT
    customer_id,
    stage,
    stage_since_on,
    stage_reason,
    segment_name,
    segment_description,
    rfm_cell,
    num_orders,
    round(net_revenue_365d_cents / 100, 2) AS net_revenue_365d,
    last_purchase_on,
    due_on,
    top_bought_categories,
    round(churn_probability, 3) AS churn_probability,
    churn_reasons,
    risk_flags,
    round(value_cents / 100, 2) AS expected_value,
    next_items
FROM gold.customer_profiles
WHERE as_of = (SELECT max(latest.as_of) FROM gold.customer_profiles AS latest)
ORDER BY value_cents DESC NULLS LAST, net_revenue_365d DESC, customer_id ASC
LIMIT 50
