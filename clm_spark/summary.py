"""What `clm run all` says at the end."""

from collections.abc import Sequence

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid

from clm_spark.job import JobDone
from clm_spark.report.metrics import role
from clm_spark.report.page import report_path
from clm_spark.report.rows import known_rows
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_SCORES, ITEM_RECOMMENDATIONS, MODEL_METRICS, SEGMENT_PROFILES
from clm_spark.tables.lake import Lake


def print_summary(spark: SparkSession, settings: Settings, done: Sequence[JobDone], out: Console) -> None:
    """Tables made, models against their baselines, the report's place and three queries to try."""
    lake = Lake(spark, settings)
    out.print(_tables_made(done))
    out.print(_model_figures(lake))
    out.print(f"report: {report_path(settings)}", soft_wrap=True)
    out.print("try:")
    for query in _queries(lake):
        out.print(f'  .venv/bin/clm sql "{query}"', highlight=False, soft_wrap=True)


def _tables_made(done: Sequence[JobDone]) -> Grid:
    grid = Grid("job", "table", "rows", "seconds", title="tables made", title_justify="left")
    for job in done:
        for write in job.written:
            grid.add_row(job.job, write.table, f"{write.num_rows:,}", f"{write.seconds:.1f}")
    seconds = sum(job.seconds for job in done)
    grid.add_row("all", "", "", f"{seconds:.0f}", style="bold")
    return grid


def _model_figures(lake: Lake) -> Grid:
    grid = Grid("task", "metric", "model", "value", "95 %", "role", title="models compared", title_justify="left")
    metrics = known_rows(lake, MODEL_METRICS, newest_of=("task",)).orderBy("task", "metric", F.desc("value"))
    for row in metrics.collect():  # bounded by models times metrics
        interval = "" if row["low"] is None else f"{row['low']:.4f} to {row['high']:.4f}"
        grid.add_row(row["task"], row["metric"], row["model"], f"{row['value']:.4f}", interval, role(row))
    return grid


def _queries(lake: Lake) -> tuple[str, ...]:
    day = f"as_of = '{lake.settings.as_of}'"
    scores, segments, items = map(lake.name, (CUSTOMER_SCORES, SEGMENT_PROFILES, ITEM_RECOMMENDATIONS))
    return (
        f"SELECT description, num_customers, revenue_share FROM {segments} WHERE {day} ORDER BY segment",
        f"SELECT decile, count(*), avg(value) FROM {scores} WHERE {day} GROUP BY decile ORDER BY decile",
        f"SELECT item_id, count(*) FROM {items} WHERE {day} AND rank <= 5 GROUP BY item_id ORDER BY 2 DESC LIMIT 10",
    )
