"""Model figures against their baselines."""

import pandas as pd
from pyspark.sql import functions as F

from clm_spark.report.blocks import Grid, count_text, number_text, words
from clm_spark.report.rows import first_line, lines, small_rows
from clm_spark.tables.catalog import MODEL_METRICS
from clm_spark.tables.lake import Lake


def metrics_of(lake: Lake, task: str) -> pd.DataFrame:
    """One row per model and metric of a task, each model's last; baselines first."""
    # A handful of models, each with a handful of figures.
    return small_rows(
        lake,
        MODEL_METRICS,
        lambda rows: rows.where(F.col("task") == task).orderBy(F.desc("is_baseline"), "model", "metric"),
        at_most=200,
        newest_of=("task", "model"),
    )


def metrics_grid(found: pd.DataFrame) -> Grid:
    """One line per model, one column per metric."""
    metrics = list(dict.fromkeys(found.metric))
    values = {(row.model, row.metric): row.value for row in lines(found)}
    rows = []
    for model, figures_of_model in found.groupby("model", sort=False):
        first = first_line(figures_of_model)
        role = "baseline" if first.is_baseline else "model"
        figures = (number_text(values.get((model, metric))) for metric in metrics)
        rows.append((words(str(model)), role, *figures, count_text(first.num_tested), _day(first.tested_on)))
    header = ("model", "role", *map(words, metrics), "customers tested", "tested on days from")
    return Grid("Figures on days the models had not seen; higher is better.", header, rows, 2)


def verdict(found: pd.DataFrame, *, metric: str) -> str:
    """Whether the best model beats the best baseline, in a sentence."""
    rows = found[found.metric == metric].sort_values("value", ascending=False)
    models, baselines = rows[~rows.is_baseline], rows[rows.is_baseline]
    if models.empty or baselines.empty:
        return ""
    ours, theirs = first_line(models), first_line(baselines)
    word = "beats" if ours.value > theirs.value else "does not beat"
    return (
        f"{words(ours.model)} {word} the baseline {words(theirs.model)}: {words(metric)} "
        f"{number_text(ours.value)} against {number_text(theirs.value)}."
    )


def _day(day: object) -> str:
    return "-" if day is None or pd.isna(day) else str(day)  # type: ignore[call-overload]
