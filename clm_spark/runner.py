"""Run jobs of one day in the order of their graph; those that have no dependency on each other run side by side."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from pyspark.sql import SparkSession

from clm_spark.errors import NoModelInUseError, UserError
from clm_spark.job import FAILED, MODELS_MISSING, USER_MISTAKE, JobDone, run_job
from clm_spark.pipeline import Job, graph_of
from clm_spark.session import another_session
from clm_spark.settings import Settings
from clm_spark.side_by_side import run_graph
from clm_spark.signals import raise_if_stopped
from clm_spark.tables.lake import RunCache

Say = Callable[[str, Job, JobDone | None], None]  # "3/15", a job, and how it ended or None where it begins

log = logging.getLogger(__name__)


def run_jobs(spark: SparkSession, settings: Settings, jobs: Sequence[Job], *, parallel: int, say: Say) -> list[JobDone]:
    """Run `jobs` for the settings' day; `say` is called as each begins and as it ends.

    A job depends on those of `jobs` whose tables and models it reads. Where a job fails, those that depend on it are not
    begun, and all others are: one family of models must not cost a day of another. A job whose model could not be
    trained has not failed. Returns how each ended, in that order, and those not begun as failed without an error.
    """
    parallel = max(1, min(parallel, len(jobs)))
    by_name, done, cache = {job.name: job for job in jobs}, list[JobDone](), RunCache()
    places = {job.name: f"{number}/{len(jobs)}" for number, job in enumerate(jobs, start=1)}

    def work(name: str) -> bool:
        raise_if_stopped()
        job, thread = by_name[name], threading.current_thread()
        say(places[name], job, None)
        if parallel > 1:
            thread.name = name  # as the log has it
        # The words of a commit are a setting of the session.
        own = another_session(spark, settings) if parallel > 1 else spark
        ended = _with_cause(_run_one(own, settings, job, cache), {each.job for each in done if each.too_little})
        done.append(ended)
        say(places[name], job, ended)
        return ended.status != "failed"

    run_graph(graph_of(jobs), work, parallel=parallel)
    begun = {each.job for each in done}
    return [*done, *(JobDone(name, 0.0, (), "failed") for name in by_name if name not in begun)]


def exit_code(done: Sequence[JobDone]) -> int:
    """What `done` means to whoever started it: 0 done, 3 done with models missing, 2 the user's mistake, 1 failed.

    Nothing is missing where there is too little data to learn from.
    """
    errors = [each.error for each in done if each.status == "failed" and each.error is not None]
    if errors:
        return USER_MISTAKE if all(isinstance(error, UserError) for error in errors) else FAILED
    return MODELS_MISSING if any(each.missing for each in done) else 0


def _with_cause(done: JobDone, too_little: Collection[str]) -> JobDone:
    """A job without a model, where the one that trains it is among those that had too little data: it has that, too."""
    if isinstance(done.error, NoModelInUseError) and done.error.train_job in too_little:
        return replace(done, missing=(), too_little=(f"follows from {done.error.train_job}",))
    return done


def _run_one(spark: SparkSession, settings: Settings, job: Job, cache: RunCache) -> JobDone:
    start = time.monotonic()
    try:
        function, _ = job.load()
        return run_job(spark, job.name, function, settings, reads_events=job.needs_events, cache=cache)
    except Exception as error:
        raise_if_stopped()  # then the error is that Spark was told to cancel
        if not isinstance(error, UserError):
            log.exception("%s failed", job.name)
        return JobDone(job.name, time.monotonic() - start, (), "failed", error=error)
