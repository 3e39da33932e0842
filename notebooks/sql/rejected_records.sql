-- What could not be used to this day and why, with the place of one record of each kind to look at.
SELECT
    source,
    reason,
    count(*) AS num_rejected,
    min(file || ', record ' || position) AS example
FROM bronze.rejected_events
WHERE replayed_in IS NULL
GROUP BY source, reason
ORDER BY num_rejected DESC, reason ASC
