-- On which devices, and brought by what, do visits of the last four weeks break off?
SELECT
    channel,
    device,
    sum(num_visiting) AS visits,
    round(100 * sum(num_viewing) / sum(num_visiting), 1) AS view_percent,
    round(100 * sum(num_carting) / sum(num_visiting), 1) AS cart_percent,
    round(100 * sum(num_buying) / sum(num_visiting), 1) AS buy_percent
FROM gold.funnel
WHERE
    unit = 'visit'
    AND as_of > (SELECT date_sub(max(latest.as_of), 28) FROM gold.funnel AS latest)
GROUP BY channel, device
ORDER BY visits DESC, channel ASC, device ASC
