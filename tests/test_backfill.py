"""Past days several at a time and in any order: what each would have been on its own morning."""

import os
import random
import signal
import time
from datetime import date, timedelta

import pytest
from daily_runs import FIRST, check_customers, event, of_day
from shop_events import events, sign
from typer.testing import CliRunner

from clm_spark.backfill import backfill
from clm_spark.cli import app
from clm_spark.errors import SettingsError
from clm_spark.job import JobDone
from clm_spark.pipeline import find_jobs
from clm_spark.tables import catalog as t


@pytest.mark.long
@pytest.mark.timeout(600)
def test_days_in_any_order_and_side_by_side_equal_a_rebuild(new_lake):
    lake = new_lake(features={"panel_every_days": 1})  # as if each day wanted the days before it to train on
    log = [event for number in range(12) for event in of_day(number)]
    log += [event(9001, "c1", FIRST + timedelta(days=2), FIRST + timedelta(days=8), kind="refund", item_id="pan")]
    sign(lake, "b1", events(lake.spark, *log))
    days = [FIRST + timedelta(days=number) for number in range(7, 12)]
    shuffled = random.Random(1).sample(days, len(days))
    came: dict[date, tuple[str, ...]] = {}

    def say(day, done):
        came[day] = tuple(write.table for write in done.written if write.table.startswith("gold"))

    (job,) = find_jobs("build_features")
    backfill(lake.spark, lake.settings, job, shuffled, parallel=3, on_done=say)
    check_customers(lake, days)
    assert set(came) == set(days)
    assert [day for day in days if t.CUSTOMER_DAYS.title in came[day]] == shuffled[:1], "partials once"
    runs = {row.as_of: row for row in lake.read(t.RUNS).where("table_name = 'gold.customer_features'").collect()}
    assert {day: runs[day].days for day in days} == {day: [day] for day in days}
    marks = {day for commit in lake.commits(t.CUSTOMER_FEATURES)[:-1] for day in commit.values("as_of")}
    assert marks == {str(day) for day in days}, "each commit tells its own day"

    again: list[int] = []
    backfill(lake.spark, lake.settings, job, days, parallel=2, on_done=lambda _, done: again.append(len(done.written)))
    assert again == [0] * len(days), "all of them still hold"


def test_one_day_that_fails_stops_the_rest(new_lake, monkeypatch):
    lake = new_lake()
    begun = []

    def run(session, name, function, settings, *, cache):
        begun.append(settings.as_of)
        assert session is not lake.spark
        assert session.conf.get("spark.sql.session.timeZone") == "UTC"
        if settings.as_of == FIRST + timedelta(days=2):
            raise SettingsError("as asked")
        time.sleep(0.5)

    monkeypatch.setattr("clm_spark.backfill.run_job", run)
    (job,) = find_jobs("build_features")
    days = [FIRST + timedelta(days=number) for number in range(20)]
    with pytest.raises(SettingsError, match="as asked"):
        backfill(lake.spark, lake.settings, job, days, parallel=2, on_done=lambda *_: None)
    assert len(begun) <= 4


def test_after_a_signal_no_day_begins(spark, monkeypatch):
    begun = []

    def run(session, name, function, settings, *, cache):
        begun.append(settings.as_of)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        return JobDone(name, 0.5, ())

    monkeypatch.setattr("clm_spark.backfill.run_job", run)
    monkeypatch.setattr("clm_spark.cli.build_session", lambda *_, **__: spark)
    asked = ["backfill", "build_features", "--from", "2024-03-01", "--to", "2024-03-09"]
    for flags in ([], ["--parallel", "2"]):
        begun.clear()
        assert CliRunner().invoke(app, [*asked, *flags]).exit_code == 128 + signal.SIGTERM
        assert begun == [date(2024, 3, 1)]


@pytest.mark.parametrize("name", ["ingest_events", "train_churn", "rotate_key"])
def test_a_job_that_needs_its_order_is_refused(new_lake, name):
    lake = new_lake()
    (job,) = find_jobs(name)
    with pytest.raises(
        SettingsError, match=f"{name} cannot be run for days in any order: expected .*build_features or "
    ):
        backfill(lake.spark, lake.settings, job, [FIRST], parallel=1, on_done=print)


def test_an_empty_range_is_named():
    asked = ["backfill", "build_features", "--from", "2024-03-02", "--to", "2024-03-01"]
    error = CliRunner().invoke(app, asked).exception
    assert isinstance(error, SettingsError)
    assert str(error) == "no day from 2024-03-02 to 2024-03-01 every 1d: expected at least one"
