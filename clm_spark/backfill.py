"""Many past days of a job, several at a time and in any order: each as it would have come out on its own morning."""

from collections.abc import Callable, Sequence
from datetime import date

from pyspark.sql import SparkSession

from clm_spark.errors import SettingsError
from clm_spark.job import JobDone, run_job
from clm_spark.pipeline import JOBS, Job
from clm_spark.session import another_session
from clm_spark.settings import Settings
from clm_spark.side_by_side import run_graph
from clm_spark.signals import raise_if_stopped
from clm_spark.tables.lake import RunCache


def backfill(
    spark: SparkSession,
    settings: Settings,
    job: Job,
    days: Sequence[date],
    *,
    parallel: int,
    on_done: Callable[[date, JobDone], None],
) -> None:
    """Run `job` as of each of `days` and no other, `parallel` of them at a time; `on_done` hears of each.

    The first of them runs alone: it brings up to date what is not of a day, such as partials, so that the others find
    nothing to do there and write to days of their own only. Where one fails, those under way are finished, no other is
    begun, and its error is raised; what is done stays done.
    """
    if not job.is_per_day:
        names = " or ".join(each.name for each in JOBS if each.is_per_day)
        raise SettingsError(
            f"{job.name} cannot be run for days in any order: expected {names}; run others day by day, oldest first"
        )
    function, _ = job.load()
    alone, cache = settings.features.model_copy(update={"as_of_alone": True}), RunCache()

    def run(day: date) -> bool:
        raise_if_stopped()
        # The words of a commit are a setting of the session.
        own = another_session(spark, settings)
        asked = settings.model_copy(update={"as_of": day, "features": alone})
        on_done(day, run_job(own, job.name, function, asked, cache=cache))
        return True

    first, *others = days
    run_graph({first: (), **dict.fromkeys(others, (first,))}, run, parallel=parallel)
