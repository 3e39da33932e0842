"""How runs of all jobs end and what resuming leaves out: with tiny jobs, and with every job on two days of a small shop."""

import os
import shlex
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import Row
from pyspark.sql import functions as F
from small_shop import write_log
from typer.testing import CliRunner

from clm_spark import cli, resume
from clm_spark.errors import ModelError, NoModelInUseError, SourceError, TooLittleDataError
from clm_spark.job import JobDone
from clm_spark.jobs import check_drift
from clm_spark.pipeline import JOBS, Job, graph_of
from clm_spark.resume import is_intact, jobs_that_hold
from clm_spark.runner import exit_code, run_jobs
from clm_spark.signals import Stopped, stopped_by_signals
from clm_spark.summary import what_is_missing
from clm_spark.tables import catalog as t
from clm_spark.tables.commits import COMMIT_MARK, Commit
from clm_spark.tables.guard import Guard
from clm_spark.tables.lake import Lake

FIRST, SECOND = date(2024, 2, 29), date(2024, 3, 1)
SECTIONS = {
    "features": {"panel_every_days": 14, "panel_size": 4},
    "churn": {"horizon_days": 14},
    "gbt": {"max_iterations": 3, "max_depth": 2, "feature_share": 1.0, "min_leaf_customers": 2},
    "evaluation": {"replicates": 50, "folds": 2, "take_in": ["gbt", "transformer_head", "svd", "nmf"]},
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
    too_little = JobDone("t", 1.0, (), "models_missing", (), ("als: one customer",))
    mistake = JobDone("c", 1.0, (), "failed", error=SourceError("no raw data"))
    bug, left_out = JobDone("d", 1.0, (), "failed", error=ValueError("oh")), JobDone("e", 0.0, (), "failed")
    cases = [
        ([done], 0),
        ([done, too_little], 0),
        ([too_little, missing], 3),
        ([done, missing], 3),
        ([missing, mistake, left_out], 2),
        ([mistake, bug, left_out], 1),
    ]
    assert [exit_code(ended) for ended, _ in cases] == [code for _, code in cases]
    assert what_is_missing([done, missing, too_little, bug, left_out]) == [
        "missing: b: als: too few",
        "too little data: t: als: one customer",
        "failed: d: ValueError: oh",
        "not run: e: follows from d",
    ]


# Tiny jobs under names of the day's: one takes rows in, one works on them, one reads all, and one has to do with none.
TINY = (
    Job("ingest_events", reads=(), writes=(t.BOT_DAYS,), takes_raw=True),
    Job("check_drift", reads=(t.BOT_DAYS,), writes=(t.FEATURE_DRIFT,)),
    Job("train_churn", reads=(), writes=(), trains=("churn",)),
    Job("write_report", reads=(t.BOT_DAYS, t.FEATURE_DRIFT, t.RUNS), writes=()),
)
NAMES = [job.name for job in TINY]


def fails(error: Exception) -> Callable[[Lake], object]:
    """What a job does that raises an error."""

    def run(_: Lake) -> None:
        raise error

    return run


class TinyShop:
    """What the tiny jobs do. `arrived` grows as files would; `does` replaces a job, by name."""

    def __init__(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lake, self.arrived, self.taken_in = lake, 1, 0
        self.does: dict[str, Callable[[Lake], object]] = {}
        self.begun: list[str] = []
        own = {
            "ingest_events": self._ingest,
            "check_drift": self._drift,
            "train_churn": lambda _: None,
            "write_report": self._report,
        }

        def load(job: Job):
            def run(lake: Lake, settings) -> None:
                self.begun.append(job.name)
                (self.does.get(job.name) or own[job.name])(lake)

            return run, "inputs -> outputs: a tiny job"

        monkeypatch.setattr(Job, "load", load)
        monkeypatch.setattr("clm_spark.job.check_as_of", lambda _: None)

    def _ingest(self, lake: Lake) -> None:
        if self.taken_in < self.arrived:
            day = lake.settings.as_of
            found = [(f"c{number}", day, "rate_per_day", 1, day) for number in range(self.arrived)]
            lake.replace(lake.spark.createDataFrame(found, t.BOT_DAYS.schema), into=t.BOT_DAYS)
            self.taken_in = self.arrived

    def _drift(self, lake: Lake) -> None:
        day, num_rows = lake.settings.as_of, lake.read(t.BOT_DAYS).count()
        figures = ("silver.bot_days", "figure", day, day, num_rows, num_rows, 0.0, 0.0, 1.0, 1.0, 0.0, False)
        lake.replace(lake.spark.createDataFrame([figures], t.FEATURE_DRIFT.schema), into=t.FEATURE_DRIFT, as_of=day)

    def _report(self, lake: Lake) -> None:
        for table in (t.BOT_DAYS, t.FEATURE_DRIFT, t.RUNS):
            lake.read(table)

    def run(self, jobs=TINY, *, parallel: int = 1) -> dict[str, JobDone]:
        self.begun.clear()
        done = run_jobs(self.lake.spark, self.lake.settings, jobs, parallel=parallel, say=lambda *_: None)
        return {each.job: each for each in done}

    def holding(self, **changes) -> list[str]:
        return jobs_that_hold(Lake(self.lake.spark, self.lake.settings.model_copy(update=changes)), TINY)


@pytest.mark.long
def test_a_model_that_follows_from_too_little_data_is_not_missing(new_lake, monkeypatch):
    shop = TinyShop(new_lake(), monkeypatch)
    little, other = TooLittleDataError("one customer"), ModelError("no library")
    # Here the report asks for the model that train_churn trains.
    without = NoModelInUseError("no churn model is in use", train_job="train_churn")
    for trained, asked, code, said in (
        (little, without, 0, ["train_churn: one customer", "write_report: follows from train_churn"]),
        (little, other, 3, ["train_churn: one customer"]),
        (other, without, 3, []),
        (None, without, 3, []),
        (little, None, 0, ["train_churn: one customer"]),
    ):
        shop.does = {name: fails(error) for name, error in (("train_churn", trained), ("write_report", asked)) if error}
        done = shop.run().values()
        assert exit_code(list(done)) == code
        assert [f"{each.job}: {reason}" for each in done for reason in each.too_little] == said
        assert shop.begun == NAMES, "none of this is a failure"


@pytest.mark.long
def test_a_failure_stops_what_depends_on_it_and_nothing_else(new_lake, monkeypatch):
    shop = TinyShop(new_lake(), monkeypatch)
    assert shop.holding() == []
    for parallel, job, error, code, begun, holding in (
        (2, "check_drift", ValueError("oh"), 1, NAMES[:3], ["ingest_events", "train_churn"]),
        (1, "check_drift", SourceError("no raw data"), 2, NAMES[:3], ["ingest_events", "train_churn"]),
        (2, "train_churn", ModelError("too few"), 3, NAMES, ["ingest_events", "check_drift"]),
        (1, "", None, 0, NAMES, NAMES),
    ):
        shop.does = {job: fails(error)} if error else {}
        done = shop.run(parallel=parallel)
        assert sorted(shop.begun) == sorted(begun)
        assert set(done) == set(NAMES)
        assert exit_code(list(done.values())) == code
        assert done["ingest_events"].status in ("done", "nothing_new")
        if code in (1, 2):
            assert done["check_drift"].error is error
            assert (done["write_report"].status, done["write_report"].error) == ("failed", None), "not begun"
        assert shop.holding() == holding


def test_a_file_of_the_shop_that_is_refused_stops_no_more_when_a_run_is_resumed(new_lake, monkeypatch):
    shop = TinyShop(new_lake(), monkeypatch)
    follows = Job("rank_categories", reads=(t.ITEM_FACTS,), writes=())
    jobs = (*TINY[:2], Job("load_shop_facts", reads=(), writes=(t.ITEM_FACTS,), takes_files=True), follows)
    shop.does = {"load_shop_facts": fails(SourceError("no row")), "rank_categories": lambda _: None}
    done = cli._resume(shop.lake.spark, shop.lake.settings, jobs, parallel=1)
    assert {each.job: each.status for each in done} == {
        "ingest_events": "done", "check_drift": "done", "load_shop_facts": "failed", "rank_categories": "failed"
    }  # fmt: skip
    assert "rank_categories" not in shop.begun
    assert exit_code(done) == 2
    shop.does["load_shop_facts"] = lambda _: None
    shop.begun.clear()
    done = cli._resume(shop.lake.spark, shop.lake.settings, jobs, parallel=1)
    assert (shop.begun, exit_code(done)) == (["ingest_events", "load_shop_facts", "rank_categories"], 0)


@pytest.mark.parametrize(("flags", "expected"), [((), 3), (("--parallel", "1"), 1)])
def test_jobs_run_side_by_side_as_the_session_says_unless_asked(monkeypatch, flags, expected):
    came = []
    monkeypatch.setattr(cli, "build_session", lambda *_, **__: None)
    monkeypatch.setattr(cli, "stopped_by_signals", lambda _: nullcontext())
    monkeypatch.setattr(cli, "usual_jobs_at_once", lambda *_: 3)
    monkeypatch.setattr(cli, "run_jobs", lambda *_, parallel, say: came.append(parallel) or [])
    done = CliRunner().invoke(cli.app, ["run", "check_drift", "--as-of", "2024-03-01", *flags])
    assert (done.exit_code, came) == (0, [expected]), done.output


@pytest.mark.parametrize("parallel", [1, 2])
def test_jobs_of_one_run_check_a_table_once(new_lake, monkeypatch, parallel):
    """And a run after that looks again: somebody may have changed a table by hand in between."""
    shop, checked, check = TinyShop(new_lake(), monkeypatch), [], Guard.check
    monkeypatch.setattr(Guard, "check", lambda guard, table: checked.append(table.title) or check(guard, table))
    shop.run(parallel=parallel)
    assert checked == [], "made in this run"
    shop.run(parallel=parallel)
    expected = sorted(table.title for table in (t.BOT_DAYS, t.FEATURE_DRIFT, t.RUNS))
    assert sorted({*checked}) == expected
    assert parallel > 1 or sorted(checked) == expected, "two jobs that begin together may both look"
    shop.lake.spark.sql(f"ALTER TABLE {shop.lake.name(t.FEATURE_DRIFT)} ADD COLUMN by_hand INT")
    done = shop.run(parallel=parallel)
    assert {name: str(each.error) for name, each in done.items() if each.error}.keys() == {"check_drift"}
    assert "changed by hand: by_hand int is not declared" in str(done["check_drift"].error)


def test_jobs_side_by_side_do_not_write_their_records_at_once(new_lake, monkeypatch):
    """Delta would let one commit, and the other write again."""
    shop, writing, at_once = TinyShop(new_lake(), monkeypatch), [], []

    def slowly(write):
        def written(lake, rows, *, into, **how):
            if into is not t.RUNS:
                return write(lake, rows, into=into, **how)
            writing.append(into)
            at_once.append(len(writing))
            time.sleep(0.2)
            try:
                return write(lake, rows, into=into, **how)
            finally:
                writing.pop()

        return written

    for name in ("append_once", "replace"):
        monkeypatch.setattr(Lake, name, slowly(getattr(Lake, name)))
    shop.run([job for job in TINY if job.name in ("ingest_events", "train_churn")], parallel=2)
    assert at_once == [1, 1, 1, 1]


@pytest.mark.long
def test_what_holds_is_what_nothing_has_changed(new_lake, monkeypatch):
    shop = TinyShop(new_lake(), monkeypatch)
    lake, drift = shop.lake, shop.lake.name(t.FEATURE_DRIFT)
    shop.run()
    assert shop.holding() == NAMES
    assert shop.holding(spark=lake.settings.spark.model_copy(update={"driver_memory": "12g"})) == NAMES
    assert shop.holding(drift=lake.settings.drift.model_copy(update={"max_psi": 0.9})) == []
    with monkeypatch.context() as newer:
        newer.setattr(resume, "code_version", lambda: "0.2.0+00000000")
        assert shop.holding() == []

    def changed(statement: str) -> list[str]:
        """What holds after a statement; then what did not runs again."""
        lake.spark.sql(statement)
        holding = shop.holding()
        shop.run([job for job in TINY if job.name not in holding])
        assert shop.holding() == NAMES
        return holding

    assert changed(f"OPTIMIZE {drift}") == NAMES
    assert changed(f"DROP TABLE {drift}") == ["ingest_events", "train_churn"]
    shop.run()  # another version
    assert changed(f"RESTORE TABLE {drift} TO VERSION AS OF {lake.version(t.FEATURE_DRIFT) - 1}") == [
        "ingest_events",
        "train_churn",
    ]
    shop.arrived += 1
    shop.run(TINY[:1])
    assert shop.holding() == ["ingest_events", "train_churn"], "a late file is news for those that read it"


def test_a_written_table_is_intact_while_only_our_jobs_write_to_it():
    def commit(version: int, job: str = "score", as_of: date = FIRST, operation: str = "WRITE") -> Commit:
        return Commit(version, operation, {"by": COMMIT_MARK, "job": job, "as_of": str(as_of)} if job else {})

    wrote = Row(job="score", as_of=FIRST, version=2, num_rows=9)
    begin = [commit(1, "", operation="CREATE TABLE"), commit(0, "", operation="CREATE TABLE")]
    ours, other_day = commit(2), commit(2, as_of=SECOND)
    for name, commits, row, expected in (
        ("as written", [ours, *begin], wrote, True),
        ("another job's rows came", [commit(3, "train"), ours, *begin], wrote, True),
        ("files packed", [commit(3, "", operation="OPTIMIZE"), ours, *begin], wrote, True),
        ("restored", [commit(3, "", operation="RESTORE"), ours, *begin], wrote, False),
        ("updated by hand", [commit(3, "", operation="UPDATE"), ours, *begin], wrote, False),
        ("dropped", [], wrote, False),
        ("made anew, with fewer versions", begin, wrote, False),
        ("made anew by another day", [commit(3), other_day, *begin], wrote, False),
        ("nothing to write, so no commit", [other_day, *begin], Row(**(wrote.asDict() | {"num_rows": 0})), True),
    ):
        assert is_intact(commits, row) is expected, name


@pytest.mark.long
def test_resuming_takes_late_files_in_and_says_how_to_query(new_lake, monkeypatch, tmp_path, capsys):
    shop = TinyShop(new_lake(), monkeypatch)
    place, conf = shop.lake.settings.lakehouse, str(Path(__file__).parents[1] / "conf")
    keys = {f"lakehouse.{name}": getattr(place, name) for name in ("path", "bronze", "silver", "gold", "analysts")}
    keys |= {
        "shop": "test_shop",
        "privacy.key_file": shop.lake.settings.privacy.key_file,
        "report.path": f"{tmp_path}/my report.html",
    }
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    monkeypatch.setattr(cli, "find_jobs", lambda _: TINY)
    monkeypatch.setattr(cli, "log_to_console", lambda: None)

    def clm(*flags: str) -> tuple[int, list[str], str]:
        shop.begun.clear()
        monkeypatch.setattr(
            "sys.argv", ["clm", "run", "all", "--as-of", "2024-03-01", "--conf-dir", conf, *sets, *flags]
        )
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), list(shop.begun), captured.out + captured.err

    for table in (t.SEGMENT_PROFILES, t.CUSTOMER_SCORES):
        shop.lake.create(table)
    code, begun, said = clm("--parallel", "1")
    assert (code, begun) == (0, NAMES)
    queries = [shlex.split(line) for line in said.splitlines() if " sql " in line]
    assert len(queries) == 2, "of tables that are there: nothing was recommended"
    for words in queries:
        assert words[:2] == [".venv/bin/clm", "sql"]
        assert words[3:] == ["--profile", "local", *sets, "--conf-dir", conf]
    code, begun, said = clm("--resume")
    assert (code, begun) == (0, ["ingest_events"])
    assert "left out, done before: check_drift, train_churn, write_report" in said
    shop.arrived += 1
    code, begun, said = clm("--resume", "--parallel", "1")
    assert (code, begun) == (0, ["ingest_events", "check_drift", "write_report"])
    assert "left out, done before: train_churn" in said

    shop.does = {"ingest_events": fails(SourceError("no raw data"))}
    code, begun, said = clm("--resume")
    assert (code, begun) == (2, ["ingest_events"])
    assert "failed: ingest_events: no raw data" in said

    shop.does = {"train_churn": fails(ModelError("too few"))}
    code, begun, said = clm("--parallel", "1")
    assert (code, begun) == (3, NAMES)
    assert said.count("too few") == 2, "as the job ends and at the end of all"


@pytest.mark.parametrize("parallel", [1, 2])
def test_after_a_signal_no_job_begins(new_lake, monkeypatch, parallel):
    shop = TinyShop(new_lake(), monkeypatch)

    def is_told_to_stop(_: Lake) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)

    def plans(lake: Lake) -> None:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        lake.spark.sparkContext._jvm.java.lang.Thread.sleep(1500)  # no Spark job that could be cancelled

    for does in (is_told_to_stop, plans):
        shop.does = {"ingest_events": does}
        with pytest.raises(Stopped) as end, stopped_by_signals(shop.lake.spark):
            shop.run([job for job in TINY if job.name != "train_churn"], parallel=parallel)
        assert end.value.code == 143
        assert shop.begun == ["ingest_events"]


@pytest.mark.soak
@pytest.mark.timeout(3000)
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
    said.clear()
    second = run(SECOND)
    failed = {name for name, done in second.items() if done.status == "failed"}
    assert failed == {"check_drift", "train_segments", "assign_segments", "write_report"}, "others do not depend on it"
    assert exit_code(list(second.values())) == 1
    places, graph = {step: number for number, step in enumerate(said)}, graph_of(JOBS)
    begun = [job.name for job in JOBS if (job.name, "begins") in places]
    assert begun == [job.name for job in JOBS if job.name not in failed - {"check_drift"}]
    for name in begun:
        for before in graph[name]:
            assert places[before, second[before].status] < places[name, "begins"]

    monkeypatch.undo()
    holding = jobs_that_hold(of_day(SECOND), JOBS)
    assert holding == [job.name for job in JOBS if job.name not in failed]
    third = run(SECOND, [job for job in JOBS if job.name not in holding])
    assert {name for name, done in third.items() if done.status in ("done", "nothing_new")} == failed
    assert jobs_that_hold(of_day(SECOND), JOBS) == [job.name for job in JOBS]
    assert jobs_that_hold(of_day(FIRST), JOBS) == [], "the second day's file is news for the first"
    # One after another they leave the same rows.
    before = {table.title: rows(table) for table in t.TABLES if lake.exists(table) and table is not t.RUNS}
    run(SECOND, parallel=1)
    after = {table.title: rows(table) for table in t.TABLES if lake.exists(table) and table is not t.RUNS}
    assert {name for name in before if before[name] != after[name]} == set()

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
