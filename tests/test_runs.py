"""gold.runs says of each run how it ended, and of tables what the last complete run wrote."""

import logging
import os
import signal
import threading
from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from clm_spark.errors import ContractError, ModelError, TooLittleDataError
from clm_spark.job import JobDone, run_job
from clm_spark.runs import RunRecord
from clm_spark.signals import Stopped, stopped_by_signals
from clm_spark.tables.catalog import BOT_DAYS, RUNS
from clm_spark.tables.lake import Lake

JOB = "ingest_events"


def run_of(lake: Lake):
    (row,) = lake.read(RUNS).where(F.col("table_name").isNull() & (F.col("job") == JOB)).collect()
    return row


def tables_of(lake: Lake) -> dict[str, int]:
    rows = lake.read(RUNS).where(F.col("table_name").isNotNull()).collect()
    assert {row.status for row in rows} <= {None}
    return {row.table_name: row.version for row in rows}


@pytest.mark.long
def test_a_run_says_how_it_ended(new_lake, caplog):
    lake = new_lake()

    def run(does) -> JobDone:
        return run_job(lake.spark, JOB, does, lake.settings, reads_events=False)

    def writes(own: Lake, settings) -> None:
        assert run_of(lake).status == "running"
        assert run_of(lake).ended_at is None
        # Another row each time: a write that changes nothing makes no commit.
        day, figure = own.settings.as_of, own.version(RUNS)
        found = own.spark.createDataFrame([("a", day, "rate_per_day", figure, day)], BOT_DAYS.schema)
        own.replace(found, into=BOT_DAYS)

    def misses_one(own: Lake, settings) -> None:
        own.missing.append("als: 3 customers are too few")
        writes(own, settings)

    def raises(error: Exception):
        def does(own: Lake, settings) -> None:
            own.too_little.append("gbt: two customers")
            raise error

        return does

    def breaks(own: Lake, settings) -> None:
        writes(own, settings)
        raise ContractError(f"gold.customer_scores: key {'ab' * 32}\ncomes twice")

    def is_stopped(own: Lake, settings) -> None:
        with stopped_by_signals(own.spark):
            threading.Timer(2, os.kill, (os.getpid(), signal.SIGTERM)).start()
            sleeping = own.spark.range(10**7).select(F.expr("java_method('java.lang.Thread', 'sleep', 20L)"))
            sleeping.write.format("noop").mode("overwrite").save()  # a count would not ask for the column

    run(lambda *_: None)
    assert (run_of(lake).status, run_of(lake).error, tables_of(lake)) == ("nothing_new", None, {})
    begun = datetime.now(UTC)
    run(writes)
    row = run_of(lake)
    assert (row.status, row.error) == ("done", None)
    assert row.started_at <= row.ended_at
    assert row.started_at.astimezone(UTC) >= begun.replace(microsecond=0)
    first = tables_of(lake)
    assert first == {BOT_DAYS.title: lake.version(BOT_DAYS)}
    run(misses_one)
    assert (run_of(lake).status, run_of(lake).error) == ("models_missing", "als: 3 customers are too few")
    complete = tables_of(lake)
    assert complete[BOT_DAYS.title] > first[BOT_DAYS.title]
    for error, missing, too_little in (
        (ModelError("no churn model is in use"), ("no churn model is in use",), ("gbt: two customers",)),
        (TooLittleDataError("nobody left"), (), ("gbt: two customers", "nobody left")),
    ):
        done = run(raises(error))
        assert (done.status, done.missing, done.too_little, done.error) == (
            "models_missing",
            missing,
            too_little,
            error,
        )
        assert (run_of(lake).status, run_of(lake).error) == ("models_missing", "; ".join((*missing, *too_little)))
        assert tables_of(lake) == complete
    for does, error, status, said in (
        (breaks, ContractError, "failed", "gold.customer_scores: key (pseudonym) comes twice"),
        (is_stopped, Stopped, "failed", "Stopped: stopped by signal 15"),
    ):
        with pytest.raises(error):
            run(does)
        assert (run_of(lake).status, run_of(lake).error) == (status, said)
        assert tables_of(lake) == complete, "what a run wrote that did not end is no complete day"

    # Killed: it could not say anything more.
    RunRecord(Lake(lake.spark, lake.settings, job=JOB), datetime(2024, 3, 1, 2, tzinfo=UTC)).begin()
    assert run_of(lake).status == "running"
    with caplog.at_level(logging.WARNING, logger="clm_spark"):
        run(lambda *_: None)
    assert "ingest_events as of 2024-03-01, begun at 2024-03-01 02:00, has no recorded end" in caplog.text
    assert run_of(lake).status == "nothing_new"
