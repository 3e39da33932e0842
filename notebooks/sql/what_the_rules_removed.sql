-- Which business rule kept how many items from which list today.
SELECT
    surface,
    rule,
    num_shown_without,
    num_candidates,
    num_customers
FROM gold.recommendation_exclusions
WHERE as_of = (SELECT max(latest.as_of) FROM gold.recommendation_exclusions AS latest)
ORDER BY surface ASC, num_shown_without DESC, rule ASC
