"""Model figures against their baselines."""

from typing import Any

import pandas as pd
from pyspark.sql import functions as F

from clm_spark.report.blocks import Grid, count_text, day_text, number_text, words
from clm_spark.report.rows import first_line, lines, small_rows
from clm_spark.tables.catalog import MODEL_METRICS, RUNS
from clm_spark.tables.lake import Lake


def metrics_of(lake: Lake, task: str) -> pd.DataFrame:
    """One row per model, version and metric of a task's last comparison; baselines first."""
    # A handful of models, each with a handful of figures.
    return small_rows(
        lake,
        MODEL_METRICS,
        lambda rows: rows.where(F.col("task") == task).orderBy(
            F.desc("is_baseline"), "model", "is_incumbent", "metric"
        ),
        at_most=200,
        newest_of=("task",),
    )


def reasons_missing(lake: Lake) -> dict[str, str]:
    """Why models are missing for this day, by the job that says so."""
    is_run_of_day = (F.col("as_of") == F.lit(lake.settings.as_of)) & F.col("table_name").isNull()
    is_missing = is_run_of_day & (F.col("status") == "models_missing")
    # One row per job.
    runs = small_rows(lake, RUNS, lambda rows: rows.where(is_missing).select("job", "error"), at_most=100)
    return {row.job: row.error for row in lines(runs)}


def with_series(rows: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Add `series`, a name per model and version of `rows`: an incumbent beside a new version of itself says so.

    `found` are the figures of the same comparison, as `metrics_of` gives them.
    """
    versions = found.drop_duplicates("model_version").set_index("model_version")
    twice = {model for model, of_model in versions.groupby("model") if len(of_model) > 1}
    before = {version for version, row in versions.iterrows() if row.is_incumbent and row.model in twice}
    named = [
        f"{words(model)}, in use before" if version in before else words(model)
        for model, version in zip(rows.model, rows.model_version, strict=True)
    ]
    return rows.assign(series=named)


FIGURES = (
    "Figures on days the models had not seen, with 95 % intervals over customers; higher is better, but of Brier, log loss "
    "and calibration error. The champion is what is served."
)


def metrics_grid(found: pd.DataFrame, *, caption: str = FIGURES) -> Grid:
    """One line per model, one column per metric."""
    metrics = list(dict.fromkeys(found.metric))
    rows = []
    for (model, _), figures_of_model in found.groupby(["model", "model_version"], sort=False):
        first = first_line(figures_of_model)
        of_metric = {row.metric: interval_text(row) for row in lines(figures_of_model)}
        figures = (of_metric.get(metric, "-") for metric in metrics)
        rows.append((words(str(model)), role(first), *figures, count_text(first.num_tested), day_text(first.tested_on)))
    header = ("model", "role", *map(words, metrics), "customers", "tested from")
    return Grid(caption, header, rows, 2)


def role(row: Any) -> str:
    """What a row of gold.model_metrics stands for."""
    kinds = ("champion" if row.is_champion else "", "incumbent" if row.is_incumbent else "")
    named = [kind for kind in (*kinds, "baseline" if row.is_baseline else "") if kind]
    return ", ".join(named) or "challenger"


def interval_text(row: Any) -> str:
    """A figure, and its interval where it has one."""
    if row.low is None or pd.isna(row.low):
        return number_text(row.value)
    return f"{number_text(row.value)} ({number_text(row.low)} to {number_text(row.high)})"


def verdict(found: pd.DataFrame, *, metric: str) -> str:
    """Whether the best model beats the best baseline, in a sentence."""
    rows = found[found.metric == metric].sort_values("value", ascending=False)
    models, baselines = rows[~rows.is_baseline], rows[rows.is_baseline]
    if models.empty or baselines.empty:
        return ""
    ours, theirs = first_line(models), first_line(baselines)
    is_known = ours.is_champion and pd.notna(theirs.behind_low)  # how far the baseline is behind what is served
    word = "beats" if ours.value > theirs.value else "does not beat"
    if word == "beats" and is_known and theirs.behind_low <= 0:
        word = "is ahead of, but not beyond chance,"
    champion = next((row.model for row in lines(found) if row.is_champion), None)
    served = f" Served: {words(champion)}." if champion else ""
    return (
        f"Best model: {words(ours.model)}. It {word} the baseline {words(theirs.model)}: {words(metric)} "
        f"{number_text(ours.value)} against {number_text(theirs.value)}.{served}"
    )
