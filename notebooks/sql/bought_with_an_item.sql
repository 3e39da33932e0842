-- What a product page shows beside its item. Put an item_id where the subquery picks one.
WITH chosen AS (
    SELECT
        neighbours.item_id,
        neighbours.as_of
    FROM gold.item_neighbours AS neighbours
    WHERE
        neighbours.relation = 'co_bought'
        AND neighbours.as_of = (SELECT max(latest.as_of) FROM gold.item_neighbours AS latest)
    ORDER BY neighbours.num_days DESC, neighbours.item_id ASC
    LIMIT 1
)

SELECT
    neighbours.item_id,
    neighbours.rank,
    neighbours.neighbour_item_id,
    vocabulary.category,
    neighbours.num_customers,
    round(100 * neighbours.confidence_share, 1) AS bought_too_percent,
    round(neighbours.lift, 1) AS lift
FROM gold.item_neighbours AS neighbours
INNER JOIN chosen
    ON neighbours.item_id = chosen.item_id AND neighbours.as_of = chosen.as_of
LEFT JOIN gold.item_vocabulary AS vocabulary
    ON neighbours.neighbour_item_id = vocabulary.item_id AND neighbours.as_of = vocabulary.as_of
WHERE neighbours.relation = 'co_bought'
ORDER BY neighbours.rank
