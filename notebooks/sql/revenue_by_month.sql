-- What each month brought: orders, buyers, money bought less money refunded.
SELECT
    date_format(occurred_at, 'yyyy-MM') AS in_month,
    count(DISTINCT CASE WHEN kind = 'purchase' THEN coalesce(order_id, event_id) END) AS num_orders,
    count(DISTINCT CASE WHEN kind = 'purchase' THEN customer_id END) AS num_buyers,
    sum(CASE kind WHEN 'purchase' THEN amount_cents WHEN 'refund' THEN -amount_cents ELSE 0 END)
    / 100 AS net_revenue
FROM silver.events
GROUP BY date_format(occurred_at, 'yyyy-MM')
ORDER BY in_month
