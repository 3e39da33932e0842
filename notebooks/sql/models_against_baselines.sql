-- Whether models earn their keep: each against the best baseline of its task, and who is served.
-- better_by above zero is better, also where the lower figure is: errors, the Gini of lists.
WITH last_comparisons AS (
    SELECT
        task,
        max(as_of) AS as_of
    FROM gold.model_metrics
    GROUP BY task
),

figures AS (
    SELECT
        metrics.task,
        metrics.metric,
        metrics.model,
        metrics.model_version,
        metrics.is_baseline,
        metrics.is_champion,
        metrics.value,
        metrics.low,
        metrics.high,
        CASE
            WHEN metrics.metric IN ('brier', 'log_loss', 'calibration_error') THEN -1
            WHEN metrics.metric LIKE 'gini_at_%' THEN -1
            ELSE 1
        END AS direction
    FROM gold.model_metrics AS metrics
    INNER JOIN last_comparisons
        ON metrics.task = last_comparisons.task AND metrics.as_of = last_comparisons.as_of
    -- Of the four shares of an offer's table none alone is better or worse.
    WHERE NOT metrics.metric RLIKE '^(true|false)_(positive|negative)_share$'
),

baselines AS (
    SELECT
        task,
        metric,
        max_by(value, value * direction) AS best_value,
        max_by(model, value * direction) AS best_model
    FROM figures
    WHERE is_baseline
    GROUP BY task, metric
)

SELECT
    models.task,
    models.metric,
    models.model,
    models.model_version,
    models.is_champion,
    round(models.value, 4) AS model_value,
    round(models.low, 4) AS lower_bound,
    round(models.high, 4) AS upper_bound,
    baselines.best_model AS baseline,
    round(baselines.best_value, 4) AS baseline_value,
    round((models.value - baselines.best_value) * models.direction, 4) AS better_by
FROM figures AS models
INNER JOIN baselines
    ON models.task = baselines.task AND models.metric = baselines.metric
WHERE NOT models.is_baseline
ORDER BY models.task ASC, models.metric ASC, better_by DESC
