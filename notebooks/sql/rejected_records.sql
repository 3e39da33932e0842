-- What could not be used and why, with one record of each kind to look at.
SELECT
    source,
    reason,
    count(*) AS num_rejected,
    min(record) AS example
FROM bronze.rejected_events
GROUP BY source, reason
ORDER BY num_rejected DESC, reason ASC
