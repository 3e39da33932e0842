"""Two days of a small shop through every job, side by side: what jobs declare, how runs end, and what resuming leaves out."""

from datetime import date

import pytest
from pyspark.sql import functions as F
from small_shop import write_log

from clm_spark.errors import SourceError
from clm_spark.job import JobDone
from clm_spark.jobs import check_drift
from clm_spark.pipeline import JOBS, graph_of
from clm_spark.resume import jobs_that_hold
from clm_spark.runner import exit_code, run_jobs
from clm_spark.summary import what_is_missing
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

FIRST, SECOND = date(2024, 2, 29), date(2024, 3, 1)
SECTIONS = {
    "features": {"panel_every_days": 14, "panel_size": 4},
    "churn": {"horizon_days": 14},
    "gbt": {"max_iterations": 3, "max_depth": 2, "feature_share": 1.0, "min_leaf_customers": 2},
    "evaluation": {"replicates": 50, "folds": 2},
    "segments": {"k_to": 3},
    "drift": {"against_days": 1},
    "als": {"rank": 4, "iterations": 3, "blocks": 2},
    "recommend": {"top_k": 5, "min_item_events": 2},
    "transformer": {
        "launcher": "one_process", "ranks": 1, "layers": 1, "heads": 2, "width": 16, "max_length": 32,
        "epochs": 2, "negatives": 8, "steps": 8, "horizon": 8, "batch_size": 8,
    },
}  # fmt: skip


def test_the_exit_code_tells_how_a_run_ended():
    done, missing = JobDone("a", 1.0, ()), JobDone("b", 1.0, (), "models_missing", ("als: too few",))
    mistake = JobDone("c", 1.0, (), "failed", error=SourceError("no raw data"))
    bug, left_out = JobDone("d", 1.0, (), "failed", error=ValueError("oh")), JobDone("e", 0.0, (), "failed")
    cases = [([done], 0), ([done, missing], 3), ([missing, mistake, left_out], 2), ([mistake, bug, left_out], 1)]
    assert [exit_code(ended) for ended, _ in cases] == [code for _, code in cases]
    assert what_is_missing([done, missing, bug, left_out]) == [
        "missing: b: als: too few",
        "failed: d: ValueError: oh",
        "not run: e: follows from d",
    ]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_days_side_by_side(new_lake, tmp_path, monkeypatch):
    write_log(tmp_path / "whole.csv")
    header, *lines = (tmp_path / "whole.csv").read_text().splitlines()
    landing = tmp_path / "landing"
    landing.mkdir()
    last = [line for line in lines if line.startswith(str(FIRST))]
    (landing / "early.csv").write_text("\n".join([header, *(line for line in lines if line not in last)]))
    lake = new_lake(as_of=str(SECOND), ingest={"source": "rees46", "path": str(landing)}, **SECTIONS)
    said: list[tuple[str, str]] = []

    def run(day: date, jobs=JOBS, *, parallel: int = 3) -> dict[str, JobDone]:
        settings = lake.settings.model_copy(update={"as_of": day})

        def say(place, job, done) -> None:
            said.append((job.name, "begins" if done is None else done.status))

        return {done.job: done for done in run_jobs(lake.spark, settings, jobs, parallel=parallel, say=say)}

    def of_day(day: date) -> Lake:
        return Lake(lake.spark, lake.settings.model_copy(update={"as_of": day}))

    def rows(table) -> list[str]:
        return sorted(map(str, lake.read(table).collect()))

    first = run(FIRST)
    assert {name: done.error for name, done in first.items() if done.error} == {}
    (landing / "late.csv").write_text("\n".join([header, *last]))

    def drift_fails(*_) -> None:
        raise ValueError("out of luck")

    monkeypatch.setattr(check_drift, "run", drift_fails)
    second = run(SECOND)
    failed = {name for name, done in second.items() if done.status == "failed"}
    assert failed == {"check_drift", "write_report"}, "what does not follow from it goes on"
    assert exit_code(list(second.values())) == 1
    places = {step: number for number, step in enumerate(said[-2 * (len(JOBS) - 1) :])}
    graph = graph_of(JOBS)
    for job in JOBS[:-1]:
        for before in graph[job.name]:
            assert places[before, second[before].status] < places[job.name, "begins"]

    monkeypatch.undo()
    kept = jobs_that_hold(of_day(SECOND), JOBS)
    assert kept == [job.name for job in JOBS if job.name not in failed]
    before = {table.title: rows(table) for table in t.TABLES if lake.exists(table) and table is not t.RUNS}
    left = [job for job in JOBS if job.name not in kept]
    third = run(SECOND, left)
    assert {name: done.status for name, done in third.items()} == {"check_drift": "done", "write_report": "done"}
    assert jobs_that_hold(of_day(SECOND), JOBS) == [job.name for job in JOBS]
    assert jobs_that_hold(of_day(FIRST), JOBS)[:1] == [], "the second day's file is news for the first"
    # One after another they leave the same rows.
    run(SECOND, parallel=1)
    after = {table.title: rows(table) for table in t.TABLES if lake.exists(table) and table is not t.RUNS}
    assert {name for name in before if before[name] != after[name]} <= {t.FEATURE_DRIFT.title}

    runs = lake.read(t.RUNS).where(F.col("file").isNull()).collect()
    for job in JOBS:
        read = {title for row in runs if row.job == job.name for title in row.inputs}
        wrote = {row.table_name for row in runs if row.job == job.name and row.table_name}
        may_read, may_write = ({each for each in of if "models." not in each} for of in (job.inputs, job.outputs))
        assert read <= may_read, job.name
        assert wrote <= may_write, job.name
        # What a model reads depends on which one won; this log has no visitor ids, so there is nobody to link.
        if not job.trains and not job.uses and job.name != "stitch_identities":
            assert (read, wrote) == (may_read, may_write), job.name
