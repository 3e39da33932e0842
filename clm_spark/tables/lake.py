"""The lakehouse: the only code that reads or writes tables."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial, reduce
from typing import Any, TypeVar

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column as Expr
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

import clm_spark
from clm_spark.errors import ContractError
from clm_spark.session import in_zone, persisted
from clm_spark.settings import Settings
from clm_spark.tables.commits import COMMIT_MARK, Commit, marked
from clm_spark.tables.conflicts import conflicts_with, with_retries
from clm_spark.tables.contract import Table
from clm_spark.tables.ddl import VIEW_PROPERTY, quoted, table_ddl, view_declared, views_ddl
from clm_spark.tables.guard import Guard, broken_rule, check_schema, num_unique, with_values_checked
from clm_spark.tables.keyed import table_keys
from clm_spark.tables.schemas import Schemas
from clm_spark.tables.sealed import RECORDS_PROPERTY, way_to_keep, with_opened_record, with_sealed_record
from clm_spark.tables.stored import last_commits, recorded_properties

log = logging.getLogger(__name__)

Value = TypeVar("Value")
SliceValue = date | str | None | Sequence[date] | Sequence[str]


@dataclass(frozen=True)
class Written:
    """One write: a line of the log and a row of the manifest."""

    table: str
    version: int
    num_rows: int
    seconds: float
    days: tuple[date, ...] | None = None  # None: not by days


@dataclass(frozen=True)
class RunCache:
    """What jobs of one run need not look up again; they share it, also where they run in threads side by side."""

    # Views first: who finds a table among those checked reads what is said of its view.
    views: dict[str, str | None] = field(default_factory=dict)  # what each table says of its view; None: just made
    checked_tables: set[str] = field(default_factory=set)  # titles of those that are as their contracts say
    values: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)  # held while a value is computed
    recording: threading.Lock = field(
        default_factory=threading.Lock
    )  # held while gold.runs, which all write, is written

    def cached(self, key: str, compute: Callable[[], Value]) -> Value:
        """What `compute` gave for the key: a handful of values that no job of the run changes."""
        with self.lock:
            if key not in self.values:
                self.values[key] = compute()
            value: Value = self.values[key]
        return value


@dataclass
class Lake:
    """All tables of one shop.

    Every write is one Delta commit: it happens whole or not at all. A frame is checked against its contract before,
    and the stored table against the same contract once per run, be it of one job or of many that share a `cache`:
    so a table changed by hand is refused.
    """

    spark: SparkSession
    settings: Settings
    job: str = ""  # who writes, for the ledger and the history
    written: list[Written] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)  # Delta version of every table read, by title
    missing: list[str] = field(default_factory=list)  # models that could not take part, each with the reason
    too_little: list[str] = field(default_factory=list)  # models for which there is too little data, in the same way
    cache: RunCache = field(default_factory=RunCache)
    _made: set[str] = field(default_factory=set)  # tables that this job has made

    @cached_property
    def schemas(self) -> Schemas:
        """The schemas its tables lie in."""
        return Schemas(self.spark, self.settings)

    @cached_property
    def time_zone(self) -> str:
        """The zone of the shop's days, looked up once."""
        return self.schemas.time_zone

    def in_shops_zone(self) -> AbstractContextManager[None]:
        """Let days be the shop's in every frame made inside the block."""
        return in_zone(self.spark, self.time_zone)

    @cached_property
    def guard(self) -> Guard:
        """What refuses stored tables."""
        return Guard(self.schemas)

    def beside(self) -> "Lake":
        """The same lake for work that is not the job's: tables are not checked again, and nothing goes on its record."""
        beside = replace(self, written=[], inputs={}, missing=[], too_little=[])
        beside.schemas, beside.guard = self.schemas, self.guard
        return beside

    def name(self, table: Table) -> str:
        """`catalog.schema.table` as SQL wants it."""
        return self.schemas.table_name(table)

    def exists(self, table: Table) -> bool:
        """Whether the table has ever been written."""
        return self.spark.catalog.tableExists(self.name(table))

    def read(self, table: Table) -> DataFrame:
        """Every row of the table, as of its last version, raw records in the clear."""
        version = self._require(table)
        self.inputs[table.title] = self._own_version(table) if version is None else version
        rows = self.spark.table(self.name(table))
        return rows if table.record is None else with_opened_record(rows, table, key=self.schemas.key)

    def read_version(self, table: Table, version: int, *, where: Expr | None = None) -> DataFrame | None:
        """The rows as of a Delta version, or those `where`; None where its history, or one of the files, is gone (VACUUM)."""
        self._require(table)
        try:
            rows = self.spark.read.option("versionAsOf", version).table(self.name(table))
            rows = rows if where is None else rows.where(where)
            rows.agg(F.max(table.key[0])).head()  # opens every file, and reads one column
        except (Py4JJavaError, PySparkException):
            return None
        return rows

    def commits(self, table: Table) -> list[Commit]:
        """The table's commits, newest first, as far back as its log remembers; none where there is no table yet."""
        if not self.exists(table):
            return []
        self._require(table)
        return [Commit.of(row) for row in DeltaTable.forName(self.spark, self.name(table)).history().collect()]

    def read_as_of(self, table: Table, as_of: date | None = None) -> DataFrame:
        """What the table could say on the morning of `as_of` (default: the run's own): the past, as known then."""
        rows = self.read(table)
        day = F.lit(as_of or self.settings.as_of)
        if table.clock == "as_of":
            return rows.where(F.col("as_of") == day)
        if table.clock == "events":
            return rows.where((F.col("occurred_at") < day) & (F.col("known_at") < day))
        if table.clock == "versions":
            past = rows.where(F.col("day_on") < day) if "day_on" in rows.columns else rows
            return _keep_last_version(past.where(F.col("known_on") < day), table)
        raise ContractError(f"{table.title} has no clock: read it whole with `read`, or declare one in the catalog")

    def replace(
        self,
        frame: DataFrame,
        *,
        into: Table,
        is_key_proven: bool = False,
        made_with: str | None = None,
        **slices: SliceValue,
    ) -> Written:
        """Replace a part of the table, or all of it when no slice is named, in one commit.

        `slices` name columns and the value or values to replace, as in `as_of=day, recommender="als"` (None: where it
        is null); a row outside them is refused. `is_key_proven` skips the check that keys are unique, for frames grouped by key just before.
        The commit records the slices, and `made_with`: what the rows follow from beside the tables read.
        """
        undeclared = sorted(set(slices) - set(into.slices))
        if undeclared:
            raise ContractError(f"{into.title} is not replaced by {undeclared}: its slices are {list(into.slices)}")
        place = reduce(lambda a, b: a & b, (_is_in(column, value) for column, value in slices.items()), F.lit(True))

        def write(rows: DataFrame) -> None:
            rows.writeTo(self.name(into)).overwrite(place)

        values = {column: _values(value) for column, value in slices.items()}
        details = {"slices": {column: [*map(str, of)] for column, of in values.items()}, "made_with": made_with}
        days = next((tuple(of) for of in values.values() if all(isinstance(each, date) for each in of)), None)
        return self._write(frame, into, write, is_key_proven=is_key_proven, details=details, days=days)

    def merge(self, frame: DataFrame, *, into: Table) -> Written:
        """Insert rows with new keys and update those whose keys are there."""
        same_key = " AND ".join(f"old.{column} = new.{column}" for column in into.key)

        def write(rows: DataFrame) -> None:
            stored = DeltaTable.forName(self.spark, self.name(into)).alias("old")
            stored.merge(rows.alias("new"), same_key).whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()

        return self._write(frame, into, write)

    def append_once(self, frame: DataFrame, *, into: Table, batch: str) -> Written:
        """Append a batch unless it is there already: Delta keeps the batch's name in the same commit.

        Keys are not compared with the rows of other batches: they must hold the batch.
        """

        def write(rows: DataFrame) -> None:
            rows.writeTo(self.name(into)).option("txnAppId", f"{into.title}/{batch}").option("txnVersion", "1").append()

        return self._write(frame, into, write, is_key_proven=True)

    def rewrite(self, rows: DataFrame, *, into: Table, key: str) -> Written:
        """Replace all rows by these, made from the stored ones by a change of key, in one commit that names the new key.

        They are written as they are: raw records are for the caller to open and seal.
        """
        self.guard.check_stored(into)
        self.inputs[into.title] = self.version(into)

        def write(frame: DataFrame) -> None:
            frame.writeTo(self.name(into)).overwrite(F.lit(True))

        start = time.monotonic()
        with _rules_explained(into):
            version, num_rows = self._commit(into, write, rows.select(into.schema.names), key=key)
        if not self.keeps_records_as_set(into):
            kept = way_to_keep(keeps_raw_ids=self.settings.privacy.keep_raw_ids)
            self._set_property(into, RECORDS_PROPERTY, kept)
        return self.note(Written(into.title, version, num_rows, time.monotonic() - start))

    def stored(self, table: Table) -> DataFrame:
        """Every row as it lies there, raw records sealed or not."""
        return self.spark.table(self.name(table))

    def keys_of(self, table: Table) -> list[str]:
        """Fingerprints of the keys that the table's commits name, newest first."""
        return table_keys(DeltaTable.forName(self.spark, self.name(table)).history().collect())

    def keeps_records_as_set(self, table: Table) -> bool:
        """Whether the table keeps raw records as the settings say; true where it has none."""
        return table.record is None or self.guard.refused_records(table, self._properties(table)) is None

    def version(self, table: Table) -> int:
        """The table's current Delta version."""
        last = DeltaTable.forName(self.spark, self.name(table)).history(1).head()
        assert last is not None
        return int(last["version"])

    def _own_version(self, table: Table) -> int:
        """The version that this run's last write made, or else the current one, which takes a Spark job to look up.

        Where others have written since, this says less than is read: what follows from it is made again once too often.
        """
        own = [written.version for written in self.written if written.table == table.title]
        if own or table.title in self._made:
            return max(own, default=0)
        return self.version(table)

    def was_made_now(self, table: Table) -> bool:
        """Whether this run has made the table and not written to it: it is empty, unless another run has begun to fill it."""
        return table.title in self._made and all(written.table != table.title for written in self.written)

    def location(self, table: Table) -> str:
        """URL of the table's files, for readers other than Spark."""
        detail = self.spark.sql(f"DESCRIBE DETAIL {self.name(table)}").select("location").head()
        assert detail is not None
        return str(detail["location"])

    def create(self, table: Table) -> None:
        """Make the table with its comments, constraints and properties, unless it is there."""
        if table.title not in self.cache.checked_tables:
            if self.exists(table):
                self._check(table)
            else:
                self._make(table)
        self._show(table)

    def _make(self, table: Table) -> None:
        """Without a check afterwards: what this very statement makes is as the contract says."""
        self.schemas.make(table.layer)
        self.guard.check_whole()
        ddl = table_ddl(table, self.name(table), self._as_set(table))
        with_retries(lambda: self.spark.sql(ddl), title=table.title)
        self.cache.views[table.title] = None
        self.cache.checked_tables.add(table.title)
        self._made.add(table.title)

    def _as_set(self, table: Table) -> dict[str, str]:
        """Properties that this release and the settings decide."""
        properties = {**recorded_properties(table), VIEW_PROPERTY: view_declared(table, self.schemas.name("analysts"))}
        if table.record is None:
            return properties
        return {**properties, RECORDS_PROPERTY: way_to_keep(keeps_raw_ids=self.settings.privacy.keep_raw_ids)}

    def _show(self, table: Table) -> None:
        """Make the table's views for analysts, unless they are there as the contract wants them."""
        schema = self.schemas.name("analysts")
        shown, declared = self.cache.views.get(table.title), view_declared(table, schema)
        if shown == declared:
            return
        self.schemas.make("analysts")
        for view in views_ddl(table, schema=schema, name=self.name(table)):
            with_retries(partial(self.spark.sql, view), title=table.title)
        if shown is not None:
            self._set_property(table, VIEW_PROPERTY, declared)
        self.cache.views[table.title] = declared

    def _set_property(self, table: Table, key: str, value: str) -> None:
        self.spark.sql(f"ALTER TABLE {self.name(table)} SET TBLPROPERTIES ('{key}' = '{quoted(value)}')")

    def _properties(self, table: Table) -> dict[str, str]:
        rows = self.spark.sql(f"SHOW TBLPROPERTIES {self.name(table)}").collect()
        return {row["key"]: row["value"] for row in rows}

    def _require(self, table: Table) -> int | None:
        """Refuse a table that is missing or not as we left it; gives its version where this had to look."""
        if table.title in self.cache.checked_tables:
            return None
        if not self.exists(table):
            raise ContractError(
                f"{table.title} does not exist in lakehouse {self.settings.lakehouse.path}: expected it written by an "
                "earlier job; run that job first (`clm jobs` lists them in order), or check lakehouse.path"
            )
        return self._check(table)

    def _check(self, table: Table) -> int:
        """Once per run and table; gives its version."""
        stored = self.guard.check(table)
        # Never written: the run that made it may have died before it made the view.
        self.cache.views[table.title] = stored.properties.get(VIEW_PROPERTY, "") if stored.version else None
        self.cache.checked_tables.add(table.title)
        return stored.version

    def _write(
        self,
        frame: DataFrame,
        table: Table,
        write: Callable[[DataFrame], None],
        *,
        is_key_proven: bool = False,
        details: Mapping[str, Any] | None = None,
        days: tuple[date, ...] | None = None,
    ) -> Written:
        check_schema(frame.schema, table)
        self.create(table)
        start = time.monotonic()
        rows, key = with_values_checked(frame.select(table.schema.names), table), None
        if table.is_keyed:
            key = self.schemas.check_key(is_claimed=True)  # each time: a change of key may have begun meanwhile
            keeps_raw_ids = self.settings.privacy.keep_raw_ids
            rows = with_sealed_record(rows, table, key=self.schemas.key, keeps_raw_ids=keeps_raw_ids)
        with _rules_explained(table):
            if is_key_proven:
                version, num_rows = self._commit(table, write, rows, key=key, details=details)
            else:
                # Counted before the commit, so that a broken key leaves the table as it was; persisted, not computed twice.
                with persisted(rows) as counted:
                    num_rows = num_unique(counted, table)
                    version, _ = self._commit(table, write, counted, key=key, details=details)
        return self.note(Written(table.title, version, num_rows, time.monotonic() - start, days))

    def note(self, written: Written) -> Written:
        """Put a write on record, and into the log."""
        self.written.append(written)
        log.info(
            "%-27s version %d, %s rows, %.1f s",
            written.table,
            written.version,
            f"{written.num_rows:,}",
            written.seconds,
        )
        return written

    def _commit(
        self,
        table: Table,
        write: Callable[[DataFrame], None],
        rows: DataFrame,
        *,
        key: str | None,
        details: Mapping[str, Any] | None = None,
    ) -> tuple[int, int]:
        """Let `write` commit the rows; gives the table's version and how many rows Delta says it wrote.

        The commit says who made it, of what, and by which `key` the table is keyed from then on.
        """
        marks = {
            **(details or {}),
            "by": COMMIT_MARK,
            "job": self.job,
            "as_of": str(self.settings.as_of),
            "inputs": self.inputs,
            "settings": self.settings.digest,
            "code": clm_spark.__version__,
            "write": uuid.uuid4().hex,
            "key": key,
        }
        mark = json.dumps({name: value for name, value in marks.items() if value})
        slices = (details or {}).get("slices", {})
        with marked(self.spark, mark):
            with_retries(lambda: write(rows), title=table.title, may_retry=lambda: self._may_write_again(table, slices))
        # Delta skips a commit that would change nothing, and another writer may have come after ours.
        recent = last_commits(self.spark, self.name(table))
        ours = next((commit for commit in recent if commit["userMetadata"] == mark), None)
        if ours is None:
            return int(recent[0]["version"]), 0
        return int(ours["version"]), int((ours["operationMetrics"] or {}).get("numOutputRows", 0))

    def _may_write_again(self, table: Table, slices: Mapping[str, Sequence[str]]) -> bool:
        """Whether rows made before another writer's commit still hold: they follow from nothing that it changed."""
        seen = self.inputs.get(table.title)
        if seen is None:
            return True  # not made of this table: the last writer's rows stand, as they do one after the other
        own = {written.version for written in self.written if written.table == table.title}
        others = [commit for commit in self.commits(table) if commit.version > seen and commit.version not in own]
        return not conflicts_with(slices, others)


@contextmanager
def _rules_explained(table: Table) -> Iterator[None]:
    """Turn Spark's exception over rows that break the contract into one line."""
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        explained = broken_rule(error, table)
        if explained is None:
            raise
        raise explained from error


def _values(value: SliceValue) -> list[Any]:
    return [value] if value is None or isinstance(value, str | date) else list(value)


def _is_in(column: str, value: SliceValue) -> Expr:
    values = _values(value)
    if values == [None]:
        return F.col(column).isNull()
    return F.col(column).isin(values) if len(values) != 1 else F.col(column) == F.lit(values[0])


def _keep_last_version(rows: DataFrame, table: Table) -> DataFrame:
    """The row with the latest `known_on` of each key."""
    key = [column for column in table.key if column != "known_on"]
    latest = Window.partitionBy(*key).orderBy(F.col("known_on").desc())
    return rows.withColumn("_age", F.row_number().over(latest)).where(F.col("_age") == 1).drop("_age")
