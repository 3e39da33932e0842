"""What every job shares: its command line, session, manifest and exit code."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.logging import RichHandler

from clm_spark.errors import SettingsError, UserError
from clm_spark.runs import recorded
from clm_spark.session import build_session
from clm_spark.settings import Settings, load_settings
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, Status
from clm_spark.tables.lake import Lake, Written

Run = Callable[[Lake, Settings], None]
USER_MISTAKE = 2
KEY_CHANGE = "rotate_key"
WITHOUT_EVENTS = ("ingest_events", "stream_events", KEY_CHANGE)  # jobs that need none yet

log = logging.getLogger(__name__)
console = Console(stderr=True)

AsOf = Annotated[str, typer.Option("--as-of", metavar="DATE", help="The day to speak for: what was known before it.")]
Profile = Annotated[str, typer.Option("--profile", help="conf/<profile>.yml, laid over conf/base.yml.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. lakehouse.path=/tmp/lake.")
]
ConfDir = Annotated[str | None, typer.Option("--conf-dir", help="Folder of the settings files.")]


@dataclass(frozen=True)
class JobDone:
    """What one job did, and the models it had to do without, each with the reason."""

    job: str
    seconds: float
    written: tuple[Written, ...]
    status: Status = "done"
    missing: tuple[str, ...] = ()


def run_job(spark: SparkSession, job: str, run: Run, settings: Settings, *, reads_events: bool = True) -> JobDone:
    """Run one job over the lakehouse, recorded in gold.runs however it ends.

    Raises `ContractError` when the settings' key is not the lakehouse's, before the run begins.
    """
    lake = Lake(spark, settings, job=job)
    changes_key = job == KEY_CHANGE
    if not changes_key:
        lake.schemas.check_key()
    with recorded(lake, is_first_written=not changes_key) as record:
        if reads_events:
            check_as_of(lake)
        run(lake, settings)
    return JobDone(job, record.seconds or 0.0, record.written, record.status, record.missing)


def check_as_of(lake: Lake) -> None:
    """Refuse a day that the event log says nothing about, as its ledger tells."""
    lake.read(EVENTS)  # refused where there is none, or none of ours
    batches = lake.read(INGESTED_BATCHES)
    span = batches.agg(F.to_date(F.min("first_known_at")), F.to_date(F.max("last_known_at"))).head()
    assert span is not None
    first, last = span
    if first is None:
        raise SettingsError("silver.events is empty: expected events to work on; run ingest_events with data first")
    if not first < lake.settings.as_of <= last + timedelta(days=1):
        raise SettingsError(
            f"as_of {lake.settings.as_of} is outside the data: events, by the time they were known, run from {first} to {last}; "
            f"give --as-of between {first + timedelta(days=1)} and {last + timedelta(days=1)}"
        )


def main(run: Run) -> int:
    """The command line of one job file: `python jobs/JOB.py --as-of DATE`, the same under spark-submit."""
    module = sys.modules[run.__module__]
    job = (module.__spec__.name if module.__spec__ else sys.argv[0]).rsplit("/", 1)[-1].removesuffix(".py")
    job = job.rsplit(".", 1)[-1]

    def command(as_of: AsOf, profile: Profile = "local", overrides: Overrides = None, conf_dir: ConfDir = None) -> None:
        with user_mistakes_as_one_line():
            settings = load_settings(profile, as_of=as_of, overrides=overrides or [], conf_dir=conf_dir)
            spark = build_session(settings, app_name=f"clm-spark {job}")
            done = run_job(spark, job, run, settings, reads_events=job not in WITHOUT_EVENTS)
            log.info("%s done in %.0f s", job, done.seconds)

    command.__doc__ = module.__doc__
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    log_to_console()
    app()
    return 0


@contextmanager
def user_mistakes_as_one_line() -> Iterator[None]:
    """Turn a `UserError` into one line on standard error and exit code 2."""
    try:
        yield
    except UserError as error:
        console.print(
            f"clm: {' '.join(str(error).split())}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        raise SystemExit(USER_MISTAKE) from None


def log_to_console() -> None:
    """One line per event of note, on standard error."""
    handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S", markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("clm_spark").setLevel(logging.INFO)
    logging.getLogger("py4j").setLevel(logging.ERROR)
