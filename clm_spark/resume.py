"""What a run of all jobs may leave out, because the same day has it from an earlier run."""

from collections.abc import Mapping, Sequence
from functools import cache

from pyspark.sql import Row
from pyspark.sql import functions as F

from clm_spark.pipeline import Job, graph_of
from clm_spark.runs import code_version
from clm_spark.tables.catalog import RUNS, TABLES
from clm_spark.tables.commits import Commit
from clm_spark.tables.lake import Lake


def jobs_that_hold(lake: Lake, jobs: Sequence[Job]) -> list[str]:
    """Names of the jobs whose last run for the lake's day need not be repeated, in order; bounded by jobs.

    Such a run was complete, without a model missing, under today's sources, settings and zone; Spark's own settings may
    differ. The jobs that it depends on hold too. The tables that it read have no newer rows, but for rows that jobs of
    the same day wrote that it has no dependency on: a run of all jobs may start those later as well. The tables that it
    wrote exist, and nobody but our jobs has changed their rows since.
    """
    runs, written = _last_runs(lake)
    graph, holding = graph_of(jobs), list[str]()
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
        has_news = any(_has_news(commits(title), version, lake, of_the_day) for title, version in seen.items())
        if not has_news and all(is_intact(commits(row["table_name"]), row) for row in written.get(job.name, [])):
            holding.append(job.name)
    return holding


def _last_runs(lake: Lake) -> tuple[Mapping[str, Row], Mapping[str, list[Row]]]:
    """By job, the last run for the lake's day, and a row per table that the last complete one wrote."""
    if not lake.exists(RUNS):
        return {}, {}
    runs, written = dict[str, Row](), dict[str, list[Row]]()
    of_the_day = (F.col("as_of") == F.lit(lake.settings.as_of)) & F.col("file").isNull()
    for row in lake.read(RUNS).where(of_the_day).collect():
        if row["table_name"] is None:
            runs[row["job"]] = row
        else:
            written.setdefault(row["job"], []).append(row)
    return runs, written


def _is_good(run: Row, lake: Lake) -> bool:
    is_same = (run["settings_hash"], run["code_version"]) == (lake.settings.digest, code_version())
    has_same_days = (run["time_zone"] or "UTC") == lake.time_zone
    return is_same and has_same_days and run["status"] in ("done", "nothing_new")


def _trained_for(job: Job, before: str, jobs: Sequence[Job]) -> bool:
    """Whether `job` uses a model of the job `before`: no table tells which one it was."""
    return any(each.name == before and set(each.trains) & set(job.uses) for each in jobs)


def _has_news(commits: Sequence[Commit], seen: int, lake: Lake, of_the_day: set[str]) -> bool:
    """Whether a table has rows since version `seen` that others than these jobs wrote for the lake's day."""
    later = _since(commits, seen)
    as_of = str(lake.settings.as_of)
    return later is None or any(
        commit.changes_rows and not (commit.mark.get("as_of") == as_of and commit.mark.get("job") in of_the_day)
        for commit in later
    )


def is_intact(commits: Sequence[Commit], wrote: Row) -> bool:
    """Whether a table has the commit that this row of gold.runs names, and only our jobs changed its rows since."""
    later = _since(commits, wrote["version"])
    if later is None or not all(commit.is_ours for commit in later if commit.changes_rows):
        return False
    if not wrote["num_rows"]:
        return True  # Delta may have skipped the commit, and then the version is an earlier one's
    made = [commit.mark for commit in commits if commit.version == wrote["version"]]
    return [(mark.get("job"), mark.get("as_of")) for mark in made] == [(wrote["job"], str(wrote["as_of"]))]


def _since(commits: Sequence[Commit], version: int) -> list[Commit] | None:
    """The commits after a version; None where the table is gone, older than that, or its log has forgotten some."""
    later = [commit for commit in commits if commit.version > version]
    return later if commits and len(later) == commits[0].version - version else None
