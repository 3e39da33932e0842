-- Whether models earn their keep: each against the best baseline of its task, on days not seen.
WITH baselines AS (
    SELECT
        task,
        metric,
        as_of,
        max(value) AS best_value,
        max_by(model, value) AS best_model
    FROM gold.model_metrics
    WHERE is_baseline
    GROUP BY task, metric, as_of
)

SELECT
    models.task,
    models.metric,
    models.model,
    round(models.value, 4) AS model_value,
    baselines.best_model AS baseline,
    round(baselines.best_value, 4) AS baseline_value,
    round(models.value - baselines.best_value, 4) AS better_by
FROM gold.model_metrics AS models
INNER JOIN baselines
    ON
        models.task = baselines.task
        AND models.metric = baselines.metric
        AND models.as_of = baselines.as_of
WHERE
    NOT models.is_baseline
    AND models.as_of = (SELECT max(latest.as_of) FROM gold.model_metrics AS latest)
ORDER BY models.task ASC, models.metric ASC, better_by DESC
