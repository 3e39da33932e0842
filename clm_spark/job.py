"""What every job shares: its command line, session, manifest and exit code."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Annotated

import typer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.logging import RichHandler

from clm_spark.errors import ModelError, SettingsError, TooLittleDataError, UserError
from clm_spark.models.catalogue import load_settings
from clm_spark.pipeline import Run, find_jobs
from clm_spark.runs import one_line, recorded
from clm_spark.session import build_session
from clm_spark.settings import Settings
from clm_spark.signals import stopped_by_signals
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, Status
from clm_spark.tables.lake import Lake, RunCache, Written

FAILED, USER_MISTAKE, MODELS_MISSING = 1, 2, 3  # exit codes; 0: done

log = logging.getLogger(__name__)
console = Console(stderr=True)

AsOf = Annotated[str, typer.Option("--as-of", metavar="DATE", help="The day to speak for: what was known before it.")]
Profile = Annotated[str, typer.Option("--profile", help="conf/<profile>.yml, laid over conf/base.yml.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. lakehouse.path=/tmp/lake.")
]
ConfDir = Annotated[str | None, typer.Option("--conf-dir", help="Folder of the settings files.")]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Exit with 0, not 3, where only models are missing.")
]


@dataclass(frozen=True)
class JobDone:
    """What one job did: how it ended, the models it had to do without, each with the reason, and what ended it early.

    A `ModelError` that ended it is among the reasons, too.
    """

    job: str
    seconds: float
    written: tuple[Written, ...]
    status: Status = "done"
    missing: tuple[str, ...] = ()
    too_little: tuple[str, ...] = ()  # models for which there is too little data
    error: Exception | None = None


def run_job(
    spark: SparkSession,
    job: str,
    run: Run,
    settings: Settings,
    *,
    reads_events: bool = True,
    cache: RunCache | None = None,
) -> JobDone:
    """Run one job over the lakehouse, recorded in gold.runs however it ends. That a model is missing is no failure.

    Jobs of one run share a `cache`. Raises `ContractError` when the settings' key is not the lakehouse's, before the run begins.
    """
    lake, (declared,) = Lake(spark, settings, job=job, cache=cache or RunCache()), find_jobs(job)
    if not declared.changes_key:
        lake.schemas.check_key()
    lake.schemas.keep_time_zone()
    written, ended_by = bool(declared.writes), None
    try:
        with lake.in_shops_zone(), recorded(lake, is_upkeep=declared.is_upkeep, writes_tables=written) as record:
            if reads_events:
                check_as_of(lake)
            run(lake, settings)
    except ModelError as error:
        ended_by = error
    seconds, reasons = record.seconds or 0.0, (record.missing, record.too_little)
    return JobDone(job, seconds, record.written, record.status, *reasons, ended_by)


def check_as_of(lake: Lake) -> None:
    """Refuse a day outside the time span of the ingested events, but for a few quiet days after it."""
    lake.read(EVENTS)  # refused where there is none, or none of ours
    batches = lake.read(INGESTED_BATCHES)
    first, last = lake.cache.cached(
        f"days of {INGESTED_BATCHES.title} version {lake.inputs[INGESTED_BATCHES.title]}", lambda: _known_span(batches)
    )
    if first is None or last is None:
        raise SettingsError("silver.events is empty: expected events to work on; run ingest_events with data first")
    as_of, morning_after = lake.settings.as_of, last + timedelta(days=1)
    latest = morning_after + timedelta(days=lake.settings.shop.max_quiet_days)
    if not first < as_of <= latest:
        raise SettingsError(
            f"as_of {as_of} is outside the data: events, by the time they were known, run from {first} to {last}; give "
            f"--as-of between {first + timedelta(days=1)} and {latest} (shop.max_quiet_days after the last event)"
        )
    if as_of > morning_after:
        _warn_of_quiet_days(as_of, last)


def _known_span(batches: DataFrame) -> tuple[date | None, date | None]:
    span = batches.agg(F.to_date(F.min("first_known_at")), F.to_date(F.max("last_known_at"))).head()
    assert span is not None
    return span[0], span[1]


@cache
def _warn_of_quiet_days(as_of: date, last: date) -> None:
    """Once in a process, not in every job."""
    log.warning(
        "no event is known of the %d days before as_of %s, the last one is of %s: the shop was closed, or its log has not "
        "arrived",
        (as_of - last).days - 1,
        as_of,
        last,
    )


def main(run: Run) -> int:
    """The command line of one job file: `python jobs/JOB.py --as-of DATE`, the same under spark-submit."""
    module = sys.modules[run.__module__]
    job = (module.__spec__.name if module.__spec__ else sys.argv[0]).rsplit("/", 1)[-1].removesuffix(".py")
    job = job.rsplit(".", 1)[-1]

    def command(
        as_of: AsOf,
        profile: Profile = "local",
        overrides: Overrides = None,
        conf_dir: ConfDir = None,
        allow_missing: AllowMissing = False,
    ) -> None:
        with user_mistakes_as_one_line(allow_missing=allow_missing):
            settings = load_settings(profile, as_of=as_of, overrides=overrides or [], conf_dir=conf_dir)
            spark = build_session(settings, app_name=f"clm-spark {job}")
            (declared,) = find_jobs(job)
            with stopped_by_signals(spark):
                done = run_job(spark, job, run, settings, reads_events=declared.needs_events)
            log.info("%s: %s, %.0f s", job, done.status.replace("_", " "), done.seconds)
            if done.missing:
                raise ModelError("; ".join(done.missing))
            if done.too_little:
                raise TooLittleDataError("; ".join(done.too_little))

    command.__doc__ = module.__doc__
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    log_to_console()
    app()
    return 0


@contextmanager
def user_mistakes_as_one_line(*, allow_missing: bool = False) -> Iterator[None]:
    """Turn a `UserError` into one line on standard error and exit code 2.

    Where a model is missing the code is 3, or 0 if that is allowed, or if there is too little to learn it from.
    """
    try:
        yield
    except UserError as error:
        print_error(error)
        if not isinstance(error, ModelError):
            raise SystemExit(USER_MISTAKE) from None
        if not allow_missing and not isinstance(error, TooLittleDataError):
            raise SystemExit(MODELS_MISSING) from None


def print_error(error: BaseException) -> None:
    """What an error says, in one line on standard error."""
    text = f"{error}{error.example and f'; {error.example}'}" if isinstance(error, UserError) else one_line(error)
    console.print(f"clm: {' '.join(text.split())}", style="red", markup=False, highlight=False, soft_wrap=True)


def log_to_console() -> None:
    """One line per event of note, on standard error."""
    handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S", markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("clm_spark").setLevel(logging.INFO)
    logging.getLogger("py4j").setLevel(logging.ERROR)
