-- The first page of a category for a segment, and the place of each item for all customers.
-- Put a category and a segment where the subquery picks them.
WITH chosen AS (
    SELECT
        ranked.category,
        ranked.segment,
        ranked.as_of
    FROM gold.category_rankings AS ranked
    WHERE
        ranked.segment IS NOT NULL
        AND ranked.as_of = (SELECT max(latest.as_of) FROM gold.category_rankings AS latest)
    ORDER BY ranked.num_purchases DESC, ranked.category ASC, ranked.segment ASC
    LIMIT 1
)

SELECT
    ranked.category,
    ranked.segment,
    ranked.rank,
    ranked.item_id,
    of_all.rank AS rank_of_all,
    round(1000 * ranked.expected_purchases, 1) AS expected_per_1000_customers,
    round(ranked.affinity, 2) AS affinity,
    ranked.num_purchases
FROM gold.category_rankings AS ranked
INNER JOIN chosen
    ON
        ranked.category = chosen.category
        AND ranked.segment = chosen.segment
        AND ranked.as_of = chosen.as_of
LEFT JOIN gold.category_rankings AS of_all
    ON ranked.item_id = of_all.item_id AND ranked.as_of = of_all.as_of AND of_all.segment IS NULL
WHERE ranked.rank <= 20
ORDER BY ranked.rank
