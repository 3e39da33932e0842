-- How far visits go, month by month. A log of purchases alone shows purchases only.
SELECT
    date_format(started_at, 'yyyy-MM') AS in_month,
    count(*) AS num_visits,
    count_if(num_views > 0) AS num_viewing,
    count_if(num_carts > 0) AS num_carting,
    count_if(num_purchases > 0) AS num_buying,
    round(100 * count_if(num_purchases > 0) / count(*), 1) AS buying_percent
FROM silver.sessions
GROUP BY date_format(started_at, 'yyyy-MM')
ORDER BY in_month
