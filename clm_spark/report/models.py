"""Which model answers each task, and by how much it is ahead: one line per declared task."""

import pandas as pd
from pyspark.sql import functions as F

from clm_spark.models.catalogue import TASKS
from clm_spark.models.task import Task
from clm_spark.report.blocks import Grid, Section, count_text, day_text, missing, number_text, words
from clm_spark.report.metrics import interval_text, metrics_of, reasons_missing
from clm_spark.report.rows import first_line, lines, small_rows
from clm_spark.settings import Settings
from clm_spark.tables.catalog import MODEL_METRICS, MODEL_MONITORING
from clm_spark.tables.lake import Lake


def models(lake: Lake) -> Section:
    """Every task with what it asks of whom, and what is served."""
    title = "Models in use"
    rows = [row for task in TASKS if (row := _row(task, metrics_of(lake, task.name)))]
    reasons = reasons_missing(lake)
    not_learned = [(words(task.name), reasons[task.train_job]) for task in TASKS if task.train_job in reasons]
    if not (rows or not_learned):
        return missing("models", title, of=MODEL_METRICS, job=TASKS[0].train_job)
    lead = (
        "Of each task, all models and rules are tested on the same days and customers. The best is served; a new one "
        "replaces the one in use only where it is better beyond chance."
    )
    header = ("task", "served", "decided by", "figure (95 %)", "best other", "ahead of it", "lead over the one in use")
    asked = [_asked(task, lake.settings) for task in TASKS]
    grids = [
        *([Grid("The last comparison of each task.", header, rows, 3)] if rows else []),
        *_monitored(lake),
        *([Grid("What was not learned for this day.", ("task", "why"), not_learned, 2)] if not_learned else []),
        Grid(
            "What each task asks.",
            ("task", "question", "an answer per", "asked of", "what counts", "days ahead"),
            asked,
            5,
        ),
    ]
    return Section("models", title, lead, grids=grids)


def _monitored(lake: Lake) -> list[Grid]:
    """Figures of the models in use, those beyond a limit first; none before a model is in use."""
    # A handful of figures per task.
    found = small_rows(
        lake, MODEL_MONITORING, lambda rows: rows.orderBy(F.desc("is_beyond"), "task", "figure"), at_most=100
    )
    if found.empty:
        return []
    rows = [
        (words(row.task), words(row.figure), number_text(row.value), number_text(row.low_limit),
         number_text(row.high_limit), "yes" if row.is_beyond else "", day_text(row.scored_on), count_text(row.num_customers))
        for row in lines(found)
    ]  # fmt: skip
    header = ("task", "figure", "value", "at least", "at most", "worth a look", "scores of", "customers")
    caption = (
        "Models in use, watched: how old, how far scores and features have moved, and what came of earlier scores."
    )
    return [Grid(caption, header, rows, 2)]


def _asked(task: Task, settings: Settings) -> tuple[str, ...]:
    days = task.horizon_days(settings)
    population, label = (text.replace("`", "") for text in (task.population, task.label))  # settings' names
    return words(task.name), task.question, task.grain, population, label, "-" if days is None else str(days)


def _row(task: Task, found: pd.DataFrame) -> tuple[str, ...] | None:
    if found.empty:
        return None
    deciding = found[found.metric == task.decided_by].sort_values("value", ascending=False)
    champions, others = deciding[deciding.is_champion], deciding[~deciding.is_champion]
    if champions.empty:
        return None
    served = first_line(champions)
    best, ahead = "-", "-"
    if not others.empty:
        second = first_line(others)
        best, ahead = f"{words(second.model)} {number_text(second.value)}", _lead_text(second, "behind")
    lead = "first comparison" if pd.isna(served.lead) else _lead_text(served, "lead")
    if served.is_incumbent:
        lead = "stays in use"
    figures = (words(task.decided_by), interval_text(served), best, ahead, lead)
    return words(task.name), words(served.model), *figures


def _lead_text(row: object, name: str) -> str:
    """A difference and its interval; a dash in rows of before it was written down."""
    found = [getattr(row, column) for column in (name, f"{name}_low", f"{name}_high")]
    if pd.isna(found[0]):
        return "-"
    value, low, high = map(number_text, found)
    return f"{value} ({low} to {high})"
