"""What a run of all jobs may leave out, because the same day has it from an earlier run."""

from collections.abc import Mapping, Sequence
from functools import cache

from pyspark.sql import Row
from pyspark.sql import functions as F

import clm_spark
from clm_spark.pipeline import Job, graph_of
from clm_spark.tables.catalog import RUNS, TABLES
from clm_spark.tables.commits import Commit
from clm_spark.tables.lake import Lake


def jobs_that_hold(lake: Lake, jobs: Sequence[Job]) -> list[str]:
    """Names of the jobs whose last run for the lake's day need not be repeated, in order; bounded by jobs.

    Such a run was complete, no model missing, under the same settings and code. All jobs that it follows hold too, and
    what it read has no newer version but by jobs of the same day that it does not follow: in one run of all jobs these
    might as well have come after it.
    """
    runs, graph, holding = _runs(lake), graph_of(jobs), list[str]()
    by_title = {table.title: table for table in TABLES}

    @cache
    def commits(title: str) -> list[Commit]:
        return lake.commits(by_title[title])

    for job in jobs:
        run, before = runs.get(job.name), graph[job.name]
        if run is None or not before <= set(holding) or not _is_good(run, lake):
            continue
        if any(runs[name]["ended_at"] > run["started_at"] for name in before if _trained_for(job, name, jobs)):
            continue
        of_the_day = {each.name for each in jobs} - before
        seen = {title: version for title, version in run["inputs"].items() if title != RUNS.title}
        if not any(_has_news(commits(title), version, lake, of_the_day) for title, version in seen.items()):
            holding.append(job.name)
    return holding


def _runs(lake: Lake) -> Mapping[str, Row]:
    """The last run of each job for the lake's day."""
    if not lake.exists(RUNS):
        return {}
    of_the_day = (F.col("as_of") == F.lit(lake.settings.as_of)) & F.col("table_name").isNull()
    return {row["job"]: row for row in lake.read(RUNS).where(of_the_day).collect()}


def _is_good(run: Row, lake: Lake) -> bool:
    is_same = (run["settings_hash"], run["code_version"]) == (lake.settings.digest, clm_spark.__version__)
    return is_same and run["status"] in ("done", "nothing_new")


def _trained_for(job: Job, before: str, jobs: Sequence[Job]) -> bool:
    """Whether `job` uses a model of the job `before`: no table tells which one it was."""
    return any(each.name == before and set(each.trains) & set(job.uses) for each in jobs)


def _has_news(commits: Sequence[Commit], seen: int, lake: Lake, of_the_day: set[str]) -> bool:
    """Whether a table has rows since version `seen` that others than these jobs wrote for the lake's day."""
    later = [commit for commit in commits if commit.version > seen]
    if not commits or len(later) != commits[0].version - seen:
        return True  # the table is gone, older than it was, or its log has forgotten
    as_of = str(lake.settings.as_of)
    return any(
        commit.changes_rows and not (commit.mark.get("as_of") == as_of and commit.mark.get("job") in of_the_day)
        for commit in later
    )
