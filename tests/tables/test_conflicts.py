"""Writers of one table at the same time, each in a session of its own, as parallel jobs have."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.errors import ContractError
from clm_spark.session import another_session
from clm_spark.tables.contract import Column, Table
from clm_spark.tables.lake import Lake

METRICS = Table(
    "gold",
    "conflict_test_metrics",
    "task and as_of",
    key=("task", "as_of"),
    clock="as_of",
    slices=("as_of", "task"),
    columns=(
        Column("task", T.StringType(), "what was asked"),
        Column("as_of", T.DateType(), "the day"),
        Column("value", T.LongType(), "the figure"),
    ),
)
MONDAY = date(2024, 2, 26)
TASKS = ("churn", "segments", "value")


def rows(lake: Lake, *said: tuple[str, int]):
    return lake.spark.createDataFrame([(task, MONDAY, n) for task, n in said], "task string, as_of date, value bigint")


def stored(lake: Lake) -> dict[str, int]:
    return {row.task: row.value for row in lake.read(METRICS).collect()}


def test_writers_of_one_day_all_come_in(lake, caplog):
    start = Barrier(len(TASKS))

    def write(number: int) -> Lake:
        own = Lake(another_session(lake.spark, lake.settings), lake.settings, job=TASKS[number])
        made = rows(own, (TASKS[number], number))
        start.wait()  # the table is not there yet: all of them make it, and commit to the same partition
        own.replace(made, into=METRICS, as_of=MONDAY, task=TASKS[number])
        return own

    caplog.set_level("INFO", "clm_spark")
    with ThreadPoolExecutor(len(TASKS)) as workers:
        lakes = list(workers.map(write, range(len(TASKS))))
    assert stored(lake) == {task: number for number, task in enumerate(TASKS)}
    assert any("another writer came first" in line for line in caplog.messages), "the test raced nobody"
    versions = sorted(written.version for own in lakes for written in own.written)
    assert versions == list(range(1, len(TASKS) + 1)), "each knows its own commit"
    jobs = {commit.version: commit.mark["job"] for commit in lake.commits(METRICS) if commit.is_ours}
    assert all(jobs[written.version] == own.job for own in lakes for written in own.written)


def test_rows_made_of_what_another_writer_changed_are_refused(lake, tmp_path):
    other = Lake(another_session(lake.spark, lake.settings), lake.settings, job="other")

    def plus_one(*, of: str, meanwhile: str) -> None:
        """Add one to a task's figure, which takes until the other writer has committed another task's."""
        lake.replace(rows(lake, ("churn", 1), ("value", 1)), into=METRICS)
        begun, done = tmp_path / f"{meanwhile}-begun", tmp_path / f"{meanwhile}-done"

        def slowly(figure: int) -> int:
            begun.touch()
            while not done.exists():
                time.sleep(0.05)
            return figure + 1

        mine = Lake(another_session(lake.spark, lake.settings), lake.settings, job="mine")
        figures = mine.read(METRICS).where(F.col("task") == of)
        raised = figures.withColumn("value", F.udf(slowly, "bigint")("value"))
        with ThreadPoolExecutor(1) as worker:
            writing = worker.submit(mine.replace, raised, into=METRICS, is_key_proven=True, as_of=MONDAY, task=of)
            while not begun.exists() and not writing.done():
                time.sleep(0.05)
            other.replace(rows(other, (meanwhile, 50)), into=METRICS, as_of=MONDAY, task=meanwhile)
            done.touch()
            writing.result()

    plus_one(of="churn", meanwhile="value")
    assert stored(lake) == {"churn": 2, "value": 50}, "written again: it follows from nothing that changed"
    with pytest.raises(ContractError, match=r"other runs wrote to the same rows meanwhile \(Concurrent\w+\)"):
        plus_one(of="churn", meanwhile="churn")
    assert stored(lake) == {"churn": 50, "value": 1}
