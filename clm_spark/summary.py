"""What `clm run all` says at the end."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from clm_spark.features.vocabulary import room_warning
from clm_spark.job import JobDone
from clm_spark.report.metrics import role
from clm_spark.report.place import report_path
from clm_spark.report.rows import known_rows
from clm_spark.runs import one_line
from clm_spark.settings import Settings
from clm_spark.tables.catalog import (
    CUSTOMER_SCORES,
    ITEM_INDICES,
    ITEM_RECOMMENDATIONS,
    MODEL_METRICS,
    MODEL_MONITORING,
    SEGMENT_PROFILES,
)
from clm_spark.tables.lake import Lake


def print_summary(
    spark: SparkSession, settings: Settings, done: Sequence[JobDone], out: Console, *, options: str
) -> None:
    """Tables made, models against their baselines, the report's place, queries to try, what is missing and what is worth a look.

    `options` name the run's settings to `clm`, quoted for a shell.
    """
    lake = Lake(spark, settings)
    out.print(_tables_made(done))
    if lake.exists(MODEL_METRICS):
        for grid in _model_figures(lake):
            out.print(grid)
            out.print()
    if not any(each.status == "failed" for each in done):
        out.print(f"report: {report_path(settings)}", soft_wrap=True)
        for place, query in enumerate(_queries(lake)):
            if not place:
                out.print("try:")
            out.print(f'  .venv/bin/clm sql "{query}" {options}', markup=False, highlight=False, soft_wrap=True)
    for line in (*what_is_missing(done), *_worth_a_look(lake)):
        out.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


def what_is_missing(done: Sequence[JobDone]) -> list[str]:
    """A line per model that is missing, per job that failed and per job that was not begun for that, with the reason."""
    lines = [f"missing: {job.job}: {reason}" for job in done for reason in job.missing]
    lines += [f"too little data: {job.job}: {reason}" for job in done for reason in job.too_little]
    failed = [job for job in done if job.status == "failed" and job.error]
    lines += [f"failed: {job.job}: {one_line(job.error)}" for job in failed if job.error]
    names = ", ".join(job.job for job in failed)
    return lines + [
        f"not run: {job.job}: follows from {names}" for job in done if job.status == "failed" and not job.error
    ]


def _worth_a_look(lake: Lake) -> list[str]:
    """A line per figure of a model in use that is beyond its limit, and one where the vocabulary has little room left."""
    lines = []
    if lake.exists(MODEL_MONITORING):
        beyond = lake.read_as_of(MODEL_MONITORING).where("is_beyond").orderBy("task", "figure")
        lines = [
            f"{row.task}: {row.figure} of {row.model_version} is {_against_limit(row)}"
            for row in beyond.collect()  # a few per task
        ]
    if lake.exists(ITEM_INDICES):
        warning = room_warning(lake.read_as_of(ITEM_INDICES), lake.settings.recommend)
        lines += [] if warning is None else [warning]
    return [f"worth a look: {line}" for line in lines]


def _against_limit(row: Row) -> str:
    is_low = row.low_limit is not None and row.value < row.low_limit
    return f"{row.value:.3g}, {'below' if is_low else 'above'} {row.low_limit if is_low else row.high_limit:.3g}"


def _tables_made(done: Sequence[JobDone]) -> Grid:
    grid = Grid("job", "table", "rows", "seconds", title="tables made", title_justify="left")
    for job in done:
        for write in job.written:
            grid.add_row(job.job, write.table, f"{write.num_rows:,}", f"{write.seconds:.1f}")
    seconds = sum(job.seconds for job in done)
    grid.add_row("all", "", "", f"{seconds:.0f}", style="bold")
    return grid


def _model_figures(lake: Lake) -> Iterator[Grid]:
    """A grid per task, narrow enough for eighty columns."""
    metrics = known_rows(lake, MODEL_METRICS, newest_of=("task",)).orderBy("task", "metric", F.desc("value"))
    rows = metrics.collect()  # bounded by models times metrics
    for task, of_task in groupby(rows, key=itemgetter("task")):
        grid = Grid("metric", "model", "value [95 %]", "role", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        grid.title, grid.title_justify = f"models compared: {task}", "left"
        for metric, of_metric in groupby(of_task, key=itemgetter("metric")):
            for place, row in enumerate(of_metric):
                interval = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
                figure = f"{row['value']:.3f}{interval}"
                grid.add_row("" if place else metric, row["model"], escape(figure), role(row))
        yield grid


def _queries(lake: Lake) -> tuple[str, ...]:
    """What there is to look at: a shop of one customer has no segments."""
    day = f"as_of = '{lake.settings.as_of}'"
    scores, segments, items = map(lake.name, (CUSTOMER_SCORES, SEGMENT_PROFILES, ITEM_RECOMMENDATIONS))
    asked = (
        (
            SEGMENT_PROFILES,
            f"SELECT name, description, num_customers, revenue_share FROM {segments} WHERE {day} ORDER BY segment",
        ),
        (
            CUSTOMER_SCORES,
            f"SELECT decile, count(*), avg(value) FROM {scores} WHERE {day} AND score = 'churn' GROUP BY decile ORDER BY decile",
        ),
        (
            ITEM_RECOMMENDATIONS,
            f"SELECT item_id, count(*) FROM {items} WHERE {day} AND surface = 'home' AND rank <= 5 GROUP BY item_id ORDER BY 2 DESC LIMIT 10",
        ),
    )
    return tuple(query for table, query in asked if lake.exists(table))
