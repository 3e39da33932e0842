"""The command line `clm`."""

import csv
import json
import shlex
import sys
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import typer
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from clm_spark.backfill import backfill
from clm_spark.demo.shop import write_shop
from clm_spark.errors import SettingsError
from clm_spark.inspection.preview import inspect_log
from clm_spark.job import (
    MODELS_MISSING,
    AllowMissing,
    AsOf,
    ConfDir,
    JobDone,
    Overrides,
    Profile,
    log_to_console,
    print_error,
    user_mistakes_as_one_line,
)
from clm_spark.keys import pseudonym_key
from clm_spark.models.catalogue import load_settings
from clm_spark.pipeline import JOBS, Job, find_jobs, graph_of, nearest_only
from clm_spark.privacy.pseudonyms import pseudonym_of, visitor_key
from clm_spark.resume import jobs_that_hold
from clm_spark.runner import exit_code, run_jobs
from clm_spark.session import build_session, usual_jobs_at_once
from clm_spark.settings import Settings
from clm_spark.signals import stopped_by_signals
from clm_spark.stale import stale_days
from clm_spark.summary import print_summary
from clm_spark.tables.catalog import TABLES
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake
from clm_spark.why import reasons

NO_DAY = date.min  # a query has no as_of
app = typer.Typer(
    help=__doc__, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)
out = Console()


@app.command()
def run(
    job: Annotated[
        str,
        typer.Argument(metavar="JOB", help="A job; all; or stale: those days up to --as-of that a late file concerns."),
    ],
    as_of: AsOf,
    profile: Profile = "local",
    overrides: Overrides = None,
    conf_dir: ConfDir = None,
    parallel: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default="as many as cores, 4 at most, where the log and the tables are small and on this machine, else 1",
            help="Jobs at a time, of those that have no dependency on each other.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="With all: ingest new files, then leave out jobs whose last run for the day holds."
        ),
    ] = False,
    allow_missing: AllowMissing = False,
) -> None:
    """Run a job, or all of them, for one day.

    A model that cannot be trained stops nothing; a job that fails stops those that follow from it. Exit codes: 0 done;
    3 done, but models are missing; 2 a mistake in what was asked or delivered, in one line; 1 failed.
    """
    if resume and job != "all":
        raise SettingsError(
            f"--resume goes with all: came {job!r}; leave it out, a job that has nothing to do is quick"
        )
    chosen = find_jobs(job) if job != "stale" else ()
    settings = load_settings(profile, as_of=as_of, overrides=overrides or [], conf_dir=conf_dir)
    spark = build_session(settings, app_name=f"clm-spark {job}")
    at_once = parallel or usual_jobs_at_once(spark, settings)
    with stopped_by_signals(spark):
        if job == "stale":
            done = _run_stale(spark, settings, parallel=at_once)
        elif resume:
            done = _resume(spark, settings, chosen, parallel=at_once)
        else:
            done = _run_jobs(spark, settings, chosen, parallel=at_once)
    if job == "all":
        print_summary(spark, settings, done, out, options=_as_options(profile, overrides, conf_dir))
    code = exit_code(done)
    if code and not (code == MODELS_MISSING and allow_missing):
        raise typer.Exit(code)


def _run_stale(spark: SparkSession, settings: Settings, *, parallel: int) -> list[JobDone]:
    days = stale_days(Lake(spark, settings))
    if not days:
        out.print("no day is stale")
    for day in days:
        out.print(f"[bold]{day.as_of}[/bold] is stale: {', '.join(job.name for job in day.jobs)}", highlight=False)
    done = list[JobDone]()
    for day in days:
        done += _run_jobs(spark, settings.model_copy(update={"as_of": day.as_of}), day.jobs, parallel=parallel)
        if any(each.status == "failed" for each in done):
            break  # later days may stand on this one
    return done


def _resume(spark: SparkSession, settings: Settings, jobs: Sequence[Job], *, parallel: int) -> list[JobDone]:
    """What comes from outside first: what is new of it decides which other jobs hold."""
    done = _run_jobs(spark, settings, [job for job in jobs if job.takes_from_outside], parallel=parallel)
    failed = {each.job for each in done if each.status == "failed"}
    if any(job.takes_raw and job.name in failed for job in jobs):
        return done
    holding = jobs_that_hold(Lake(spark, settings), jobs)
    # One that failed on the shop's files is tried once more, so that what follows from it is not begun.
    done = [each for each in done if each.job not in failed]
    left = [job for job in jobs if job.name in failed or not (job.takes_from_outside or job.name in holding)]
    left_out = [job.name for job in jobs if not job.takes_from_outside and job.name in holding]
    if left_out:
        out.print(f"left out, done before: {', '.join(left_out)}", highlight=False, soft_wrap=True)
    return [*done, *_run_jobs(spark, settings, left, parallel=parallel)]


def _run_jobs(spark: SparkSession, settings: Settings, chosen: Sequence[Job], *, parallel: int) -> list[JobDone]:
    console = Console(file=sys.stdout)  # a launcher of ranks may send standard output elsewhere meanwhile

    def say(place: str, job: Job, done: JobDone | None) -> None:
        if done is None:
            purpose = job.load()[1]
            console.print(f"[bold]{place} {job.name}[/bold]  {purpose}", highlight=False, soft_wrap=True)
            return
        ended = {"done": "done", "nothing_new": "nothing new", "models_missing": "models missing"}
        text = f"    {job.name}: {ended.get(done.status, done.status)}, {done.seconds:.0f} s"
        console.print(text, highlight=False, soft_wrap=True)
        for reason in (*done.missing, *done.too_little):
            console.print(f"    {reason}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        if done.status == "failed" and done.error is not None:
            print_error(done.error)

    return run_jobs(spark, settings, chosen, parallel=parallel, say=say)


@app.command()
def inspect(
    log: Annotated[str, typer.Argument(metavar="LOG", help="A file or a folder of CSV, JSON lines or Parquet.")],
    write: Annotated[Path | None, typer.Option("--write", metavar="FILE", help="Where to write the mapping.")] = None,
    profile: Profile = "local",
    overrides: Overrides = None,
    conf_dir: ConfDir = None,
) -> None:
    """Look at a log of your own: draft its mapping, say why, and show the first events that it gives."""
    with TemporaryDirectory() as folder:  # nothing is written into a lakehouse
        sets = [*(overrides or []), f"lakehouse.path={folder}", "spark.local_metastore=false"]
        settings = load_settings(profile, as_of=NO_DAY, overrides=sets, conf_dir=conf_dir)
        inspect_log(build_session(settings, app_name="clm-spark inspect"), log, out, write_to=write)


@app.command()
def jobs() -> None:
    """List the jobs in the order they run: which they follow, what each reads and writes."""
    graph = nearest_only(graph_of(JOBS))
    grid = Grid("job", "", "jobs and tables")  # narrow enough for no name to be cut
    for step in JOBS:
        follows = ", ".join(job.name for job in JOBS if job.name in graph[step.name])
        lines = {"follows": follows, "reads": _listed(step.inputs), "writes": _listed(step.outputs)}
        named = [(what, names) for what, names in lines.items() if names]
        for place, (what, names) in enumerate(named):
            is_last = place == len(named) - 1
            grid.add_row("" if place else step.name, what, names, end_section=is_last)
    out.print(grid)


@app.command()
def tables(name: Annotated[str, typer.Argument(help="One table, as layer.name; all when left out.")] = "") -> None:
    """Print the data dictionary."""
    for table in [_table(name)] if name else TABLES:
        grid = Grid(
            "column", "type", "meaning", title=f"{table.title}: one row per {table.grain}", title_justify="left"
        )
        for column in table.columns:
            mark = " (key)" if column.name in table.key else "" if not column.nullable else " (may be null)"
            mark += " (sensitive: not in the analysts' view)" if column.is_sensitive else ""
            grid.add_row(column.name, column.type.simpleString(), column.comment + mark)
        out.print(grid)


@app.command()
def panel(
    first_on: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first as_of.")],
    last_on: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="No as_of after this day.")],
    every: Annotated[str, typer.Option(metavar="DAYS", help="From one as_of to the next, e.g. 7d.")] = "7d",
    gap: Annotated[str, typer.Option(metavar="DAYS", help="Days from as_of on that labels leave out.")] = "0d",
    horizon: Annotated[str, typer.Option(metavar="DAYS", help="Days after the gap that labels look at.")] = "56d",
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="DATE", help="By when labels are known; default: the last one's end."),
    ] = None,
    profile: Profile = "local",
    overrides: Overrides = None,
    conf_dir: ConfDir = None,
) -> None:
    """Write features and labels of many past mornings in one pass: what models train on."""
    num_days = {"every_days": _days(every), "gap_days": _days(gap), "horizon_days": _days(horizon)}
    answered = last_on.date() + timedelta(days=num_days["gap_days"] + num_days["horizon_days"])
    asked = {"first_on": first_on.date(), "last_on": last_on.date(), **num_days}
    sets = [f"panel.{name}={value}" for name, value in asked.items()]
    run("build_panel", as_of or str(answered), profile, [*(overrides or []), *sets], conf_dir)


@app.command("backfill")
def fill_back(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="A job whose tables hold a row per day, e.g. build_features.")
    ],
    first_on: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first as_of.")],
    last_on: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="No as_of after this day.")],
    every: Annotated[str, typer.Option(metavar="DAYS", help="From one as_of to the next, e.g. 7d.")] = "1d",
    parallel: Annotated[int, typer.Option(min=1, help="Days at a time.")] = 1,
    profile: Profile = "local",
    overrides: Overrides = None,
    conf_dir: ConfDir = None,
) -> None:
    """Run a job for many past days; those that still hold are left alone."""
    if job == "all":
        raise SettingsError("backfill takes one job: expected a name that `clm jobs` lists")
    (chosen,) = find_jobs(job)
    step, last = timedelta(days=_days(every)), last_on.date()
    days = [first_on.date() + step * n for n in range((last - first_on.date()) // step + 1)] if step else []
    if not days:
        raise SettingsError(f"no day from {first_on.date()} to {last} every {every}: expected at least one")
    settings = load_settings(profile, as_of=str(days[0]), overrides=overrides or [], conf_dir=conf_dir)
    spark = build_session(settings, app_name=f"clm-spark backfill {job}")

    def say(day: date, done: JobDone) -> None:
        out.print(f"{day}  {len(done.written)} writes, {done.seconds:.0f} s", highlight=False)

    with stopped_by_signals(spark):
        backfill(spark, settings, chosen, days, parallel=parallel, on_done=say)


@app.command()
def why(
    name: Annotated[str, typer.Argument(metavar="TABLE", help="A table, as layer.name.")],
    as_of: AsOf,
    profile: Profile = "local",
    overrides: Overrides = None,
    conf_dir: ConfDir = None,
) -> None:
    """Say which job, table versions, settings and code made a day of a table, and the same of what it was made of."""
    table = _table(name)
    settings = load_settings(profile, as_of=as_of, overrides=overrides or [], conf_dir=conf_dir)
    lake = Lake(build_session(settings, app_name="clm-spark why"), settings)
    for reason in reasons(lake, table, settings.as_of):
        commit, mark = reason.commit, reason.commit.mark
        days = commit.values("as_of") or commit.values("known_on") or []
        of_days = f" of {', '.join(days[:3])}" + (f" and {len(days) - 3} more" if len(days) > 3 else "") if days else ""
        out.print(
            f"{'  ' * reason.depth}{reason.table.title} version {commit.version}{of_days}: {mark.get('job')} as of "
            f"{mark.get('as_of')}, settings {str(mark.get('settings'))[:12]}, code {mark.get('code')}",
            highlight=False,
            soft_wrap=True,
        )


@app.command("pseudonym")
def name_customers(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids as the log writes them; - reads one a line.")],
    are_visitors: Annotated[bool, typer.Option("--visitors", help="Ids of visitors, not of logins.")] = False,
    profile: Profile = "local",
    overrides: Overrides = None,
    conf_dir: ConfDir = None,
) -> None:
    """Print the pseudonym of each id, as CSV: who a row of silver and gold is about.

    The id of a person with several logins or visitor ids is that of one of them: silver.identities maps each to it.
    """
    key = pseudonym_key(load_settings(profile, as_of=NO_DAY, overrides=overrides or [], conf_dir=conf_dir))
    key = visitor_key(key) if are_visitors else key
    writer = csv.writer(sys.stdout)
    writer.writerow(("id", "pseudonym"))
    named = (line.rstrip("\r\n") for line in sys.stdin) if ids == ["-"] else ids
    writer.writerows((name, pseudonym_of(name, key=key)) for name in named)


@app.command()
def sql(
    query: Annotated[
        str, typer.Argument(help="e.g. 'SELECT * FROM gold.customer_scores LIMIT 5'; or a file that ends in .sql")
    ],
    style: Annotated[Literal["table", "csv", "json"], typer.Option("--format")] = "table",
    limit: Annotated[int, typer.Option(help="Rows that a table shows.")] = 100,
    profile: Profile = "local",
    overrides: Overrides = None,
    conf_dir: ConfDir = None,
) -> None:
    """Answer a query from the lakehouse."""
    statement = _statement(query)
    settings = load_settings(profile, as_of=NO_DAY, overrides=overrides or [], conf_dir=conf_dir)
    spark = build_session(settings, app_name="clm-spark sql")
    try:
        with Lake(spark, settings).in_shops_zone():
            rows = spark.sql(statement)
            _print_rows(rows, style, limit)
    except PySparkException as error:
        first = " ".join(str(error).split("\n\nJVM stacktrace", 1)[0].split(";\n", 1)[0].split())
        raise SettingsError(f"the query failed: {first}") from None


def _statement(query: str) -> str:
    """The SQL of a query that is given as such, or as a file."""
    file = Path(query)
    if not query.endswith(".sql") or (" " in query and not file.is_file()):
        return query
    if not file.is_file():
        raise SettingsError(f"no file {query}: expected a query, or a file with one that ends in .sql")
    return file.read_text(encoding="utf-8").strip().removesuffix(";")


@app.command("replay-rejected")
def replay_rejected(
    as_of: AsOf, profile: Profile = "local", overrides: Overrides = None, conf_dir: ConfDir = None
) -> None:
    """Ingest rejected records again, after the mapping was corrected; known from --as-of on."""
    run("replay_rejected", as_of, profile, overrides, conf_dir)


@app.command()
def migrate(as_of: AsOf, profile: Profile = "local", overrides: Overrides = None, conf_dir: ConfDir = None) -> None:
    """Bring a lakehouse of an earlier release to this one's tables; let no other job run meanwhile."""
    run("migrate_tables", as_of, profile, overrides, conf_dir)


@app.command("rotate-key")
def rotate_key(as_of: AsOf, profile: Profile = "local", overrides: Overrides = None, conf_dir: ConfDir = None) -> None:
    """Re-key every table, after a new key was added below the old one; let no other job run meanwhile."""
    run("rotate_key", as_of, profile, overrides, conf_dir)


@app.command()
def stream(
    as_of: AsOf,
    is_continuous: Annotated[
        bool, typer.Option("--continuous/--once", help="Run until stopped, or ingest what is there and end.")
    ] = False,
    profile: Profile = "local",
    overrides: Overrides = None,
    conf_dir: ConfDir = None,
) -> None:
    """Take events in as they come, from files at ingest.path or from the Kafka topic stream.topic."""
    until = "stopped" if is_continuous else "caught_up"
    run("stream_events", as_of, profile, [*(overrides or []), f"stream.until={until}"], conf_dir)


@app.command()
def demo(
    out_folder: Annotated[str, typer.Option("--out", help="New folder for the log and its truth.")],
    customers: Annotated[int, typer.Option(min=1)] = 2000,
    days: Annotated[int, typer.Option(min=1)] = 180,
    start_on: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.")] = datetime(2024, 1, 1),  # noqa: DTZ001 - a day, not a time
    seed: int = 7,
    style: Annotated[Literal["csv", "jsonl", "parquet"], typer.Option("--format")] = "csv",
    profile: Profile = "demo",
    overrides: Overrides = None,
    conf_dir: ConfDir = None,
) -> None:
    """Draw a synthetic shop: a raw log, and beside it the truth it was drawn from."""
    settings = load_settings(profile, as_of=NO_DAY, overrides=overrides or [], conf_dir=conf_dir)
    spark = build_session(settings, app_name="clm-spark demo")
    first = start_on.date()
    shop = write_shop(
        spark, customers=customers, days=days, start_on=first, seed=seed, out=out_folder, log_format=style
    )
    out.print(f"{shop.num_records:,} records in {shop.num_files} files, {shop.seconds:.0f} s", highlight=False)
    last = first + timedelta(days=days)
    command = f"{sys.argv[0]} run all --profile demo --as-of {last} --set ingest.path={out_folder}/log"
    out.print(f"now: {command}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2."""
    log_to_console()
    with user_mistakes_as_one_line():
        app()


def _days(text: str) -> int:
    number = text.removesuffix("d")
    if not number.isdecimal():
        raise SettingsError(f"{text!r} is no number of days: expected one such as 7d")
    return int(number)


def _table(title: str) -> Table:
    for table in TABLES:
        if table.title == title:
            return table
    raise SettingsError(f"no table {title!r}: expected one of {', '.join(table.title for table in TABLES)}")


def _as_options(profile: str, overrides: Sequence[str] | None, conf_dir: str | None) -> str:
    """The options that name the same settings, quoted for a shell."""
    words = ["--profile", profile, *(word for text in overrides or [] for word in ("--set", text))]
    return shlex.join([*words, *(["--conf-dir", conf_dir] if conf_dir else [])])


def _listed(titles: Collection[str]) -> str:
    place = {table.title: number for number, table in enumerate(TABLES)}
    return ", ".join(sorted(titles, key=lambda title: (place.get(title, len(place)), title)))


def _print_rows(rows: DataFrame, style: str, limit: int) -> None:
    if not rows.columns:
        out.print("done")
    elif style == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(rows.columns)
        writer.writerows(tuple(row) for row in rows.toLocalIterator())  # one partition at a time
    elif style == "json":
        for row in rows.toLocalIterator():
            sys.stdout.write(json.dumps(row.asDict(recursive=True), default=str, ensure_ascii=False) + "\n")
    else:
        _print_grid(rows, limit)


def _print_grid(rows: DataFrame, limit: int) -> None:
    shown = rows.limit(limit + 1).collect()  # bounded by --limit
    grid = Grid(*map(escape, rows.columns))
    for row in shown[:limit]:
        grid.add_row(*map(_cell, row))
    out.print(grid)
    if len(shown) > limit:
        out.print(f"the first {limit} rows; --limit shows more, --format csv all")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return "" if value is None else escape(str(value))
