"""Stale days: days computed before a late batch with events that they should have known, and the jobs concerned."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import functions as F

from clm_spark.pipeline import JOBS, Job, graph_of
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, RUNS
from clm_spark.tables.lake import Lake


@dataclass(frozen=True)
class StaleDay:
    """A day and the jobs, in order, that have to run for it again."""

    as_of: date
    jobs: tuple[Job, ...]


def stale_days(lake: Lake) -> list[StaleDay]:
    """Days up to the asked one, oldest first, whose tables do not hold any more; bounded by days and jobs.

    Either a later batch should have been in them, or they were made of the days of another zone. An event that became available on a day or later does not concern that day, so late events with their own known_at
    make no past day stale. Tables without a clock show what is known now: only their last day can be stale.
    """
    if not lake.exists(RUNS):
        return []
    with lake.in_shops_zone():
        return _stale_days(lake)


def _stale_days(lake: Lake) -> list[StaleDay]:
    # Tables that a complete run wrote: a run that failed has not made a day anew.
    is_written = F.col("table_name").isNotNull() & F.col("file").isNull()
    runs = lake.read(RUNS).where(is_written & (F.col("as_of") <= F.lit(lake.settings.as_of)))
    done = {(row["job"], row["as_of"]) for row in runs.select("job", "as_of").distinct().collect()}
    outdated = _outdated(lake)
    newest = {name: max(day for job, day in done if job == name) for name, _ in done}
    found, graph = [], graph_of(JOBS)
    for day in sorted({day for _, day in done}):
        jobs: list[Job] = []
        for job in JOBS:
            is_fed_by_stale = bool(graph[job.name] & {earlier.name for earlier in jobs})
            is_stale = (job.name, day) in outdated and (_speaks_for_days(job) or day == newest.get(job.name))
            if (job.name, day) in done and (is_stale or is_fed_by_stale):
                jobs.append(job)
        if jobs:
            found.append(StaleDay(day, tuple(jobs)))
    return found


def _speaks_for_days(job: Job) -> bool:
    return any(table.clock for table in job.writes)


def _outdated(lake: Lake) -> set[tuple[str, date]]:
    """Jobs and days that read silver.events before a batch came with events for them, or by the days of another zone."""
    seen = F.col("inputs")[EVENTS.title]
    has_ended_well = F.coalesce("status", F.lit("done")).isin("done", "nothing_new", "models_missing")
    follows = F.col("job").isin([job.name for job in JOBS if not job.takes_from_outside])
    runs = lake.read(RUNS).where(follows & F.col("file").isNull() & seen.isNotNull() & has_ended_well)
    by_other_days = F.coalesce("time_zone", F.lit("UTC")) != lake.time_zone
    rezoned = runs.where(by_other_days)
    per_run = runs.groupBy("job", "as_of").agg(F.max(seen).alias("seen"))
    batches = lake.read(INGESTED_BATCHES).where(F.col("num_kept") > 0).select("events_version", "first_known_at")
    is_late = F.col("events_version") > F.col("seen")
    concerns = F.col("job").isin([job.name for job in JOBS if not _speaks_for_days(job)]) | (
        F.col("first_known_at") < F.col("as_of")
    )
    late = per_run.join(F.broadcast(batches), on=is_late & concerns, how="left_semi").select("job", "as_of")
    return {(row["job"], row["as_of"]) for row in late.union(rezoned.select("job", "as_of")).distinct().collect()}
