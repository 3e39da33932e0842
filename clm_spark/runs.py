"""The record of runs, gold.runs: what each read and wrote, when it began and ended, and how.

The only place that asks for the time of day: no row of any other table depends on it.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

import clm_spark
from clm_spark.errors import ModelError, TooLittleDataError, UserError
from clm_spark.signals import Stopped, asked_to_stop, uncancelled
from clm_spark.tables.catalog import COUNTS, EVENTS, INGESTED_BATCHES, INGESTED_FILES, RUNS, Status
from clm_spark.tables.lake import Lake, Written

MAX_ERROR = 500
PSEUDONYM = re.compile(r"\b[0-9a-f]{64}\b")  # a change of key would not find it in a message

log = logging.getLogger(__name__)


@dataclass
class RunRecord:
    """One run on its way into gold.runs."""

    lake: Lake  # the job's own
    started_at: datetime
    writes_tables: bool = True  # False: done without a table written
    status: Status = "running"
    ended_at: datetime | None = None
    missing: tuple[str, ...] = ()
    too_little: tuple[str, ...] = ()
    error: str | None = None
    written: tuple[Written, ...] = ()
    inputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None

    def begin(self) -> None:
        """Write the run down as running, and say so where the one before has never ended."""
        book = self._book()
        before = self._before(book)
        book.inputs.clear()  # what is written follows from no other row: other jobs may write theirs meanwhile
        if before is None:  # the usual case, at half the cost of replacing
            with book.cache.recording:
                book.append_once(self._rows(), into=RUNS, batch=f"{self.lake.job} {self.started_at}")
            return
        if before["status"] == "running":
            log.warning(
                "%s as of %s, begun at %s, has no recorded end: it was killed, or still runs elsewhere",
                self.lake.job,
                self.lake.settings.as_of,
                f"{before['started_at']:%Y-%m-%d %H:%M}",
            )
        self._write(book, self._rows())

    def end(self, error: BaseException | None = None) -> None:
        """Write down how it ended. Rows of tables are those of the last run that was complete."""
        self.ended_at = _now()
        self.written, self.inputs = tuple(self.lake.written), dict(self.lake.inputs)
        errors = () if error is None else (one_line(error),)
        has_failed = not (error is None or isinstance(error, ModelError))
        has_little = isinstance(error, TooLittleDataError)
        self.missing = (*self.lake.missing, *(() if has_failed or has_little else errors))
        self.too_little = (*self.lake.too_little, *(errors if has_little else ()))
        self.error = "; ".join(errors if has_failed else (*self.missing, *self.too_little))[:MAX_ERROR] or None
        if has_failed:
            self.status = "failed"
        elif self.missing or self.too_little:
            self.status = "models_missing"
        else:
            self.status = "done" if self.written or not self.writes_tables else "nothing_new"
        is_complete = bool(self.written) and not has_failed
        self._write(self._book(), self._manifest() if is_complete else self._rows(), is_whole=is_complete)

    def _before(self, book: Lake) -> Row | None:
        """The last run of this job and day, as it was written down.

        A local metastore lets in one process, so there it is looked up for all jobs of the day at once.
        """

        def find() -> dict[str, Row]:
            if not book.exists(RUNS):
                return {}
            is_of_day = (F.col("as_of") == F.lit(self.lake.settings.as_of)) & F.col("table_name").isNull()
            rows = book.read(RUNS).where(is_of_day).select("job", "status", "started_at").collect()
            return {row["job"]: row for row in rows}

        if not self.lake.settings.spark.local_metastore:
            return find().get(self.lake.job)
        return book.cache.cached(f"{RUNS.title} as of {self.lake.settings.as_of}", find).get(self.lake.job)

    def _book(self) -> Lake:
        """The record is no work of the job's."""
        return self.lake.beside()

    def _write(self, book: Lake, rows: DataFrame, *, is_whole: bool = False) -> None:
        place: dict[str, Any] = {"as_of": self.lake.settings.as_of, "job": self.lake.job}
        if not is_whole:
            place["table_name"] = None
        with book.cache.recording:  # or of two jobs side by side one would have to write again
            book.replace(rows, into=RUNS, is_key_proven=True, **place)

    def _rows(self, tables: Sequence[Mapping[str, Any]] = ()) -> DataFrame:
        """The run itself, and a row per table."""
        run = {
            "status": self.status,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "error": self.error,
            "num_rows": sum(write.num_rows for write in self.written),
            "seconds": self.seconds,
        }
        rows = [tuple({**self._common(), **row}.get(name) for name in RUNS.schema.names) for row in (run, *tables)]
        return self.lake.spark.createDataFrame(rows, RUNS.schema).coalesce(1)

    def _common(self) -> dict[str, Any]:
        settings = self.lake.settings
        return {
            "job": self.lake.job,
            "as_of": settings.as_of,
            "inputs": dict(sorted(self.inputs.items())),
            "time_zone": self.lake.time_zone,
            "settings_hash": settings.digest,
            "code_version": code_version(),
        }

    def _manifest(self) -> DataFrame:
        """The run, a row per table written and, where it took raw records in, per file; bounded by tables and files."""
        last = {write.table: write for write in self.written}
        num_rows = Counter[str]()
        for write in self.written:
            num_rows[write.table] += write.num_rows
        tables: list[dict[str, Any]] = [
            {
                "table_name": w.table,
                "version": w.version,
                "num_rows": num_rows[w.table],
                "seconds": w.seconds,
                "days": _days_of(w.table, self.written),
            }
            for w in last.values()
        ]
        if INGESTED_BATCHES.title not in last:
            return self._rows(tables)
        counts, files = _records_taken_in(self._book())
        counted = [row | counts if row["table_name"] == EVENTS.title else row for row in tables]
        return self._rows([*counted, *({"table_name": EVENTS.title, **each} for each in files)])


@contextmanager
def recorded(lake: Lake, *, is_upkeep: bool = False, writes_tables: bool = True) -> Iterator[RunRecord]:
    """Record what happens inside the block as the run of the lake's job and day, however it ends.

    Upkeep is recorded when it is over: until then it rewrites gold.runs itself.
    """
    record = RunRecord(lake, _now(), writes_tables)
    if not is_upkeep:
        record.begin()
    try:
        yield record
    except BaseException as error:
        # Spark's answer to a signal is that a job was cancelled.
        ended: BaseException = Stopped(128 + asked_to_stop[0]) if asked_to_stop else error
        try:
            with uncancelled:
                record.end(ended)
        except (UserError, PySparkException, Py4JError, OSError) as another:  # the job's own error says more
            log.warning("gold.runs does not say how %s ended: %s", lake.job, one_line(another))
        raise ended from (error if ended is not error else error.__cause__)
    with uncancelled:
        record.end()


@cache
def code_version() -> str:
    """The release, and eight digits that name the sources of all modules."""
    named = hashlib.sha256()
    for name, source in sorted(_sources(files("clm_spark"))):
        named.update(name.encode() + b"\0" + source + b"\0")
    return f"{clm_spark.__version__}+{named.hexdigest()[:8]}"


def _sources(folder: Traversable, place: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{place}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield f"{place}{entry.name}", entry.read_bytes()


def one_line(error: BaseException) -> str:
    """What an error says, without the stack below it and without pseudonyms."""
    message = str(error).split("\n\nJVM stacktrace", 1)[0].split("\n\tat ", 1)[0]
    text = PSEUDONYM.sub("(pseudonym)", " ".join(message.split()))
    named = (
        text if isinstance(error, UserError) else f"{type(error).__name__}: {text}" if text else type(error).__name__
    )
    return named[:MAX_ERROR]


def _now() -> datetime:
    return datetime.now(UTC)


def _days_of(table: str, written: Sequence[Written]) -> list[date] | None:
    """The days that all these writes of a table replaced, in order; None where one was of the whole table."""
    days = [write.days for write in written if write.table == table]
    return None if None in days else sorted({day for some in days for day in some or ()})


def _records_taken_in(book: Lake) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """What became of the records of all batches of this job and day, together and per file; bounded by files.

    From the ledger, not from this process: a run that was killed signed some of them off and did not say so.
    """
    mine = (F.col("job") == book.job) & (F.col("as_of") == F.lit(book.settings.as_of))
    batches = book.stored(INGESTED_BATCHES).where(mine).select("batch_id", *COUNTS).collect()
    summed = {name: sum(batch[name] for batch in batches) for name in COUNTS}
    files = book.stored(INGESTED_FILES).where(F.col("batch_id").isin([batch["batch_id"] for batch in batches]))
    # A file may come changed under its name, and a stream's partition comes with every step.
    per_file = files.groupBy("file").agg(*(F.sum(name).alias(name) for name in COUNTS)).orderBy("file")
    return summed, [{**row.asDict(), "num_rows": row["num_kept"]} for row in per_file.collect()]
