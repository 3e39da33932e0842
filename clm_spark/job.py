"""What every job shares: its command line, session, manifest and exit code."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

import typer
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.logging import RichHandler

import clm_spark
from clm_spark.errors import SettingsError, UserError
from clm_spark.models.catalogue import load_settings
from clm_spark.session import build_session
from clm_spark.settings import Settings
from clm_spark.tables.catalog import COUNTS, EVENTS, INGESTED_BATCHES, INGESTED_FILES, RUNS
from clm_spark.tables.lake import Lake, Written

Run = Callable[[Lake, Settings], None]
USER_MISTAKE = 2
KEY_CHANGE = "rotate_key"
WITHOUT_EVENTS = ("ingest_events", "stream_events", "migrate_tables", KEY_CHANGE)  # jobs that need none yet

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
    """What one job did."""

    job: str
    seconds: float
    written: tuple[Written, ...]


def run_job(spark: SparkSession, job: str, run: Run, settings: Settings, *, reads_events: bool = True) -> JobDone:
    """Run one job over the lakehouse and write its rows of gold.runs.

    Raises `ContractError` when the settings' key is not the lakehouse's, before the job begins.
    """
    lake = Lake(spark, settings, job=job)
    start = time.monotonic()
    if job != KEY_CHANGE:
        lake.schemas.check_key()
    if reads_events:
        check_as_of(lake)
    run(lake, settings)
    written = tuple(lake.written)
    if written:
        # A row per table and per file of this job and day, which it replaces.
        lake.replace(_manifest(lake, written), into=RUNS, is_key_proven=True, as_of=settings.as_of, job=job)
    elif lake.exists(RUNS):
        _note_looked(lake)
    return JobDone(job, time.monotonic() - start, written)


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


def _note_looked(lake: Lake) -> None:
    """Leave the record of the run that had something to do, but for the inputs: what came since did not concern it."""
    looked_at = dict(lake.inputs)
    mine = lake.read(RUNS).where((F.col("job") == lake.job) & (F.col("as_of") == F.lit(lake.settings.as_of)))
    first = mine.select("inputs").head()  # all rows of a run say the same
    if first is not None and (first["inputs"] or {}) != looked_at:
        lake.replace(mine.withColumn("inputs", _map_of(looked_at)), into=RUNS, as_of=lake.settings.as_of, job=lake.job)


def _manifest(lake: Lake, written: Sequence[Written]) -> DataFrame:
    """A row per table written and, where the job took raw records in, per file; bounded by tables and files."""
    last = {write.table: write for write in written}
    num_rows = Counter[str]()
    for write in written:
        num_rows[write.table] += write.num_rows
    rows = [(w.table, w.version, num_rows[w.table], w.seconds, _days_of(w.table, written)) for w in last.values()]
    columns = "table_name string, version bigint, num_rows bigint, seconds double, days array<date>"
    tables = lake.spark.createDataFrame(rows, columns)
    if INGESTED_BATCHES.title in last:
        tables = _with_counts(tables, lake)
    common = {
        "job": F.lit(lake.job),
        "as_of": F.lit(lake.settings.as_of),
        "inputs": _map_of(lake.inputs),
        "settings_hash": F.lit(lake.settings.digest),
        "code_version": F.lit(clm_spark.__version__),
    }
    absent = [column for column in RUNS.columns if column.name not in {*tables.columns, *common}]
    nothing = {column.name: F.lit(None).cast(column.type) for column in absent}
    return tables.withColumns({**common, **nothing}).select(RUNS.schema.names)


def _days_of(table: str, written: Sequence[Written]) -> list[date] | None:
    """The days that all these writes of a table replaced, in order; None where one was of the whole table."""
    days = [write.days for write in written if write.table == table]
    return None if None in days else sorted({day for some in days for day in some or ()})


def _with_counts(tables: DataFrame, lake: Lake) -> DataFrame:
    """Add what became of the records, to the row of silver.events and per file, of all batches of this job and day.

    From the ledger, not from this process: a run that was killed signed some of them off and wrote no manifest.
    """
    mine = (F.col("job") == lake.job) & (F.col("as_of") == F.lit(lake.settings.as_of))
    batches = lake.read(INGESTED_BATCHES).where(mine)
    whole = batches.agg(*(F.sum(name).alias(name) for name in COUNTS)).withColumn("table_name", F.lit(EVENTS.title))
    files = lake.read(INGESTED_FILES).join(batches, on="batch_id", how="left_semi")
    # A file may come changed under its name, and a stream's partition comes with every step.
    summed = files.groupBy("file").agg(*(F.sum(name).alias(name) for name in COUNTS))
    per_file = summed.withColumns({"table_name": F.lit(EVENTS.title), "num_rows": F.col("num_kept")})
    return tables.join(whole, on="table_name", how="left").unionByName(per_file, allowMissingColumns=True)


def _map_of(numbers: Mapping[str, int]) -> Column:
    pairs = [part for name, number in sorted(numbers.items()) for part in (F.lit(name), F.lit(number).cast("bigint"))]
    return F.create_map(*pairs).cast("map<string,bigint>")  # an empty map where a run read nothing
