"""Past days several at a time and in any order: what each would have been on its own morning."""

import random
from datetime import date, timedelta

import pytest
from nights import FIRST, check_customers, of_day, told
from shop_events import events, sign
from typer.testing import CliRunner

from clm_spark.backfill import backfill
from clm_spark.cli import app
from clm_spark.errors import SettingsError
from clm_spark.pipeline import find_jobs
from clm_spark.tables import catalog as t


@pytest.mark.long
@pytest.mark.timeout(600)
def test_days_in_any_order_and_side_by_side_equal_a_rebuild(new_lake):
    lake = new_lake(features={"panel_size": 1})
    log = [event for number in range(12) for event in of_day(number)]
    log += [told(9001, "c1", FIRST + timedelta(days=2), FIRST + timedelta(days=8), kind="refund", item_id="pan")]
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


def test_a_job_without_days_and_an_empty_range_are_named(new_lake):
    lake = new_lake()
    (job,) = find_jobs("ingest_events")
    with pytest.raises(SettingsError, match="ingest_events writes no table by days: expected one of build_features, "):
        backfill(lake.spark, lake.settings, job, [FIRST], parallel=1, on_done=print)
    asked = ["backfill", "build_features", "--from", "2024-03-02", "--to", "2024-03-01"]
    error = CliRunner().invoke(app, asked).exception
    assert isinstance(error, SettingsError)
    assert str(error) == "no day from 2024-03-02 to 2024-03-01 every 1d: expected at least one"
