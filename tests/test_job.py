"""The command line of a job's own file ends with the exit code of how its run ended."""

import logging
from contextlib import nullcontext

import pytest
from shop_events import at, events, on, sign

from clm_spark import job
from clm_spark.errors import ModelError, NoModelInUseError, SettingsError, SourceError, TooLittleDataError
from clm_spark.job import JobDone
from clm_spark.jobs import score_customers
from clm_spark.tables.lake import Lake


def test_exit_codes_of_a_jobs_file(spark, monkeypatch, capsys):
    monkeypatch.setattr(job, "build_session", lambda *_, **__: spark)
    monkeypatch.setattr(job, "log_to_console", lambda: None)

    def exit_code(done: JobDone | Exception, *flags: str) -> int:
        def run_job(*_: object, **__: object) -> JobDone:
            if isinstance(done, Exception):
                raise done
            return done

        monkeypatch.setattr(job, "run_job", run_job)
        monkeypatch.setattr("sys.argv", ["score_customers.py", "--as-of", "2024-03-01", *flags])
        with pytest.raises(SystemExit) as end:
            job.main(score_customers.run)
        return int(end.value.code or 0)

    missing = JobDone("score_customers", 1.0, (), "models_missing", ("no churn model",))
    too_little = JobDone("score_customers", 1.0, (), "models_missing", (), ("nobody can be asked",))
    both = JobDone("score_customers", 1.0, (), "models_missing", ("no churn model",), ("nobody can be asked",))
    cases = [
        (JobDone("score_customers", 1.0, ()), 0, 0),
        (missing, 3, 0),
        (too_little, 0, 0),
        (both, 3, 0),
        (ModelError("no churn model"), 3, 0),
        (NoModelInUseError("no churn model", train_job="train_churn"), 3, 0),
        (TooLittleDataError("nobody can be asked"), 0, 0),
        (SourceError("no raw data"), 2, 2),
    ]
    for done, code, allowed in cases:
        assert exit_code(done) == code
        assert exit_code(done, "--allow-missing") == allowed
    said = capsys.readouterr().err
    assert (said.count("clm: no churn model"), said.count("clm: nobody can be asked")) == (8, 4)


def test_a_shop_that_was_closed_runs_on_monday(new_lake, caplog):
    lake = new_lake(as_of="2024-03-04")
    sign(lake, "b1", events(lake.spark, {"customer_id": "ann", "occurred_at": at("2024-03-01", "18:00")}))
    caplog.set_level(logging.WARNING, logger="clm_spark")
    cases = [  # as_of, whether it is allowed, whether a warning is given
        ("2024-03-01", False, False),
        ("2024-03-02", True, False),
        ("2024-03-04", True, True),
        ("2024-03-09", True, True),
        ("2024-03-10", False, False),
    ]
    for as_of, is_allowed, is_warned in cases:
        caplog.clear()
        asked = Lake(lake.spark, lake.settings.model_copy(update={"as_of": on(as_of)}))
        for _ in range(2):
            with (
                nullcontext() if is_allowed else pytest.raises(SettingsError, match="between 2024-03-02 and 2024-03-09")
            ):
                job.check_as_of(asked)
        said = f"no event is known of the {(on(as_of) - on('2024-03-02')).days} days before as_of {as_of}"
        # Once, though two jobs ask.
        assert [record.message.partition(",")[0] for record in caplog.records] == [said] * is_warned
