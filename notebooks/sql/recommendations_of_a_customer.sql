-- A customer's list on the home page. Put a customer_id where the subquery picks one.
WITH chosen AS (
    SELECT
        min(recommended.customer_id) AS customer_id,
        max(recommended.as_of) AS as_of
    FROM gold.item_recommendations AS recommended
    WHERE recommended.as_of = (SELECT max(latest.as_of) FROM gold.item_recommendations AS latest)
)

SELECT
    recommended.rank,
    recommended.item_id,
    vocabulary.category,
    recommended.source,
    recommended.reason
FROM gold.item_recommendations AS recommended
INNER JOIN chosen
    ON recommended.customer_id = chosen.customer_id AND recommended.as_of = chosen.as_of
LEFT JOIN gold.item_vocabulary AS vocabulary
    ON recommended.item_id = vocabulary.item_id AND recommended.as_of = vocabulary.as_of
WHERE recommended.surface = 'home' AND recommended.rank <= 10
ORDER BY recommended.rank
