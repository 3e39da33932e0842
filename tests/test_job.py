"""The command line of a job's own file ends with the exit code of how its run ended."""

import pytest

from clm_spark import job
from clm_spark.errors import ModelError, NoModelInUseError, SourceError, TooLittleDataError
from clm_spark.job import JobDone
from clm_spark.jobs import score_customers


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
