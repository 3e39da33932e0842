"""Many past days of a job, several at a time and in any order: each as it would have come out on its own morning."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from pyspark.sql import SparkSession

from clm_spark.config import Settings
from clm_spark.errors import SettingsError
from clm_spark.job import JobDone, run_job
from clm_spark.pipeline import JOBS, Job


def backfill(
    spark: SparkSession,
    settings: Settings,
    job: Job,
    days: Sequence[date],
    *,
    parallel: int,
    on_done: Callable[[date, JobDone], None],
) -> None:
    """Run `job` as of each of `days`, `parallel` of them at a time; `on_done` hears of each.

    The first of them runs alone: it brings up to date what is not of a day, such as partials, so that the others find
    nothing to do there and write to days of their own only. Where one fails, those under way are finished, no other is
    begun, and its error is raised; what is done stays done.
    """
    if not _is_of_days(job):
        names = ", ".join(each.name for each in JOBS if _is_of_days(each))
        raise SettingsError(f"{job.name} writes no table by days: expected one of {names}")
    function, _ = job.load()

    def run(day: date) -> None:
        # A session of its own, as the words of a commit are a setting of the session.
        own = spark.newSession()
        on_done(day, run_job(own, job.name, function, settings.model_copy(update={"as_of": day})))

    first, rest = days[0], days[1:]
    run(first)
    with ThreadPoolExecutor(max_workers=parallel) as workers:
        begun = [workers.submit(run, day) for day in rest]
        try:
            for each in begun:
                each.result()
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise


def _is_of_days(job: Job) -> bool:
    return any(table.clock == "as_of" for table in job.writes)
