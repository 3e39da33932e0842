"""The lakehouse: the only code that reads or writes tables."""

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, reduce
from typing import Any

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column as Expr
from pyspark.sql import DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F

import clm_spark
from clm_spark.errors import ContractError
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.commits import COMMIT_MARK, UPKEEP, Commit
from clm_spark.tables.contract import Table, check_schema, schema_differences
from clm_spark.tables.ddl import VIEW_PROPERTY, quoted, table_ddl, view_ddl, view_declared
from clm_spark.tables.keyed import check_whole, table_keys
from clm_spark.tables.schemas import Schemas
from clm_spark.tables.sealed import RECORDS_PROPERTY, way_to_keep, with_opened_record, with_sealed_record

log = logging.getLogger(__name__)

SliceValue = date | str | Sequence[date] | Sequence[str]

COMMITS_LOOKED_AT = 20
COMMIT_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


@dataclass(frozen=True)
class Written:
    """One write: a line of the log and a row of the manifest."""

    table: str
    version: int
    num_rows: int
    seconds: float
    days: tuple[date, ...] | None = None  # None: not by days


@dataclass
class Lake:
    """All tables of one shop.

    Every write is one Delta commit: it happens whole or not at all. A frame is checked against its contract before,
    and the stored table against the same contract once per process, so a table changed by hand is refused.
    """

    spark: SparkSession
    settings: Settings
    job: str = ""  # who writes, for the ledger and the history
    written: list[Written] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)  # Delta version of every table read, by title
    missing: list[str] = field(default_factory=list)  # models that could not take part, each with the reason
    _checked: set[str] = field(default_factory=set)
    _is_whole: bool = False  # no change of key is under way
    _views: dict[str, str | None] = field(default_factory=dict)  # what each table says of its view; None: just made

    @cached_property
    def schemas(self) -> Schemas:
        """The schemas its tables lie in."""
        return Schemas(self.spark, self.settings)

    def name(self, table: Table) -> str:
        """`catalog.schema.table` as SQL wants it."""
        return f"{self.schemas.name(table.layer)}.{table.name}"

    def exists(self, table: Table) -> bool:
        """Whether the table has ever been written."""
        return self.spark.catalog.tableExists(self.name(table))

    def read(self, table: Table) -> DataFrame:
        """Every row of the table, as of its last version, raw records in the clear."""
        version = self._require(table)
        self.inputs[table.title] = self.version(table) if version is None else version
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

        `slices` name columns and the value or values to replace, as in `as_of=day, recommender="als"`; a row outside
        them is refused. `is_key_proven` skips the check that keys are unique, for frames grouped by key just before.
        The commit bears the slices, and `made_with`: what the rows follow from beside the tables read.
        """
        undeclared = sorted(set(slices) - set(into.slices))
        if undeclared:
            raise ContractError(f"{into.title} is not replaced by {undeclared}: its slices are {list(into.slices)}")
        place = reduce(lambda a, b: a & b, (_is_in(column, value) for column, value in slices.items()), F.lit(True))

        def write(rows: DataFrame) -> None:
            rows.writeTo(self.name(into)).overwrite(place)

        values = {column: _values(value) for column, value in slices.items()}
        said = {"slices": {column: [*map(str, of)] for column, of in values.items()}, "made_with": made_with}
        days = next((tuple(of) for of in values.values() if all(isinstance(each, date) for each in of)), None)
        return self._write(frame, into, write, is_key_proven=is_key_proven, said=said, days=days)

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
        self._check_stored(into)
        self.inputs[into.title] = self.version(into)

        def write(frame: DataFrame) -> None:
            frame.writeTo(self.name(into)).overwrite(F.lit(True))

        start = time.monotonic()
        version, num_rows = self._commit(into, write, rows.select(into.schema.names), key=key)
        if not self.keeps_records_as_set(into):
            kept = way_to_keep(keeps_raw_ids=self.settings.privacy.keep_raw_ids)
            self._set_property(into, RECORDS_PROPERTY, kept)
        return self._note(Written(into.title, version, num_rows, time.monotonic() - start))

    def stored(self, table: Table) -> DataFrame:
        """Every row as it lies there, raw records sealed or not."""
        return self.spark.table(self.name(table))

    def keys_of(self, table: Table) -> list[str]:
        """Fingerprints of the keys that the table's commits name, newest first."""
        return table_keys(DeltaTable.forName(self.spark, self.name(table)).history().collect())

    def keeps_records_as_set(self, table: Table) -> bool:
        """Whether the table keeps raw records as the settings say; true where it has none."""
        return table.record is None or self._refused_records(table, self._properties(table)) is None

    def version(self, table: Table) -> int:
        """The table's current Delta version."""
        last = DeltaTable.forName(self.spark, self.name(table)).history(1).head()
        assert last is not None
        return int(last["version"])

    def location(self, table: Table) -> str:
        """URL of the table's files, for readers other than Spark."""
        detail = self.spark.sql(f"DESCRIBE DETAIL {self.name(table)}").select("location").head()
        assert detail is not None
        return str(detail["location"])

    def create(self, table: Table) -> None:
        """Make the table with its comments, constraints and properties, unless it is there."""
        if table.title not in self._checked:
            if self.exists(table):
                self._check(table)
            else:
                self._make(table)
        self._show(table)

    def _make(self, table: Table) -> None:
        """Without a check afterwards: what this very statement makes is as the contract says."""
        self.schemas.make(table.layer)
        self._check_whole()
        self.spark.sql(table_ddl(table, self.name(table), self._as_set(table)))
        self._views[table.title] = None
        self._checked.add(table.title)

    def _as_set(self, table: Table) -> dict[str, str]:
        """Properties that the settings decide."""
        view = {VIEW_PROPERTY: view_declared(table, self.schemas.name("analysts"))}
        if table.record is None:
            return view
        return {**view, RECORDS_PROPERTY: way_to_keep(keeps_raw_ids=self.settings.privacy.keep_raw_ids)}

    def _show(self, table: Table) -> None:
        """Make the table's view for analysts, unless it is there as the contract wants it."""
        schema = self.schemas.name("analysts")
        shown, declared = self._views.get(table.title), view_declared(table, schema)
        if shown == declared:
            return
        self.schemas.make("analysts")
        self.spark.sql(view_ddl(table, view=f"{schema}.{table.name}", name=self.name(table)))
        if shown is not None:
            self._set_property(table, VIEW_PROPERTY, declared)
        self._views[table.title] = declared

    def _set_property(self, table: Table, key: str, value: str) -> None:
        self.spark.sql(f"ALTER TABLE {self.name(table)} SET TBLPROPERTIES ('{key}' = '{quoted(value)}')")

    def _properties(self, table: Table) -> dict[str, str]:
        rows = self.spark.sql(f"SHOW TBLPROPERTIES {self.name(table)}").collect()
        return {row["key"]: row["value"] for row in rows}

    def _require(self, table: Table) -> int | None:
        """Refuse a table that is missing or not as we left it; gives its version where this had to look."""
        if table.title in self._checked:
            return None
        if not self.exists(table):
            raise ContractError(
                f"{table.title} does not exist in lakehouse {self.settings.lakehouse.path}: expected it written by an "
                "earlier job; run that job first (`clm jobs` lists them in order), or check lakehouse.path"
            )
        return self._check(table)

    def _check(self, table: Table) -> int:
        """Once per process and table: as we left it, keyed by the lakehouse's key, records kept as settings say.

        Gives its version.
        """
        commits, properties = self._check_stored(table)
        # Never written: the run that made it may have died before it made the view.
        self._views[table.title] = properties.get(VIEW_PROPERTY, "") if commits[0]["version"] else None
        refused = self._refused_records(table, properties)
        if refused:
            raise ContractError(refused)
        self._check_whole()
        if table.is_keyed:
            self._check_table_key(table, commits)
        self._checked.add(table.title)
        return int(commits[0]["version"])

    def _check_whole(self) -> None:
        if not self._is_whole:
            check_whole(self.schemas.key_record(), self.settings.lakehouse.path)
            self._is_whole = True

    def _check_table_key(self, table: Table, commits: Sequence[Row]) -> None:
        keys, record = table_keys(commits), self.schemas.key_record()
        if keys and record and keys[0] != record.now:
            raise ContractError(
                f"{table.title} is keyed by {keys[0]}, and its lakehouse by {record.now}: it was restored from before a "
                "change of key, or written during one; run `clm rotate-key`, which re-keys what is left"
            )

    def _refused_records(self, table: Table, properties: Mapping[str, str]) -> str | None:
        keeps_raw_ids = self.settings.privacy.keep_raw_ids
        kept, wanted = properties.get(RECORDS_PROPERTY, "plain"), way_to_keep(keeps_raw_ids=keeps_raw_ids)
        if table.record is None or kept == wanted:
            return None
        return (
            f"{table.title} keeps its records {kept}, and privacy.keep_raw_ids={str(keeps_raw_ids).lower()} wants them "
            f"{wanted}: set it to {str(not keeps_raw_ids).lower()}, or run `clm rotate-key`, which also keeps records as "
            "the settings say"
        )

    def _check_stored(self, table: Table) -> tuple[list[Row], dict[str, str]]:
        """Refuse a table that was changed by hand; gives its last commits and its properties."""
        self.schemas.check_shop(table.layer)
        try:
            stored = self.spark.table(self.name(table)).schema
            properties = self._properties(table)
        except PySparkException as error:
            raise ContractError(
                f"{table.title} is registered but its files cannot be read ({_first_line(error)}); "
                f'restore them, or drop it (`clm sql "DROP TABLE {self.name(table)}"`) and run the job that writes it'
            ) from error
        problems = schema_differences(stored, table.schema)
        for name, rule in table.constraints.items():
            held = properties.get(f"delta.constraints.{name.lower()}")
            if held is None:
                problems.append(f"rule {name} is gone")
            elif _squeezed(held) != _squeezed(rule):
                problems.append(f"rule {name} should be {rule} and is {held}")
        recent = DeltaTable.forName(self.spark, self.name(table)).history(COMMITS_LOOKED_AT).collect()
        changes = [commit for commit in recent if commit["operation"] not in UPKEEP]
        if changes and COMMIT_MARK not in (changes[0]["userMetadata"] or ""):
            last = changes[0]
            problems.append(f"version {last['version']} is a {last['operation']} that clm-spark did not make")
        if problems:
            raise ContractError(
                f"{table.title} was changed by hand: {'; '.join(problems)}; restore the version before "
                f"(RESTORE TABLE {self.name(table)} TO VERSION AS OF ...), or drop it and run its job again"
            )
        return recent, properties

    def _write(
        self,
        frame: DataFrame,
        table: Table,
        write: Callable[[DataFrame], None],
        *,
        is_key_proven: bool = False,
        said: Mapping[str, Any] | None = None,
        days: tuple[date, ...] | None = None,
    ) -> Written:
        check_schema(frame.schema, table)
        self.create(table)
        start = time.monotonic()
        rows, key = frame.select(table.schema.names), None
        if table.is_keyed:
            key = self.schemas.check_key(is_claimed=True)  # each time: a change of key may have begun meanwhile
            keeps_raw_ids = self.settings.privacy.keep_raw_ids
            rows = with_sealed_record(rows, table, key=self.schemas.key, keeps_raw_ids=keeps_raw_ids)
        if is_key_proven:
            version, num_rows = self._commit(table, write, rows, key=key, said=said)
        else:
            # Counted before the commit, so that a broken key leaves the table as it was; kept, not computed twice.
            with persisted(rows) as counted:
                num_rows = _num_unique(counted, table)
                version, _ = self._commit(table, write, counted, key=key, said=said)
        return self._note(Written(table.title, version, num_rows, time.monotonic() - start, days))

    def _note(self, written: Written) -> Written:
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
        said: Mapping[str, Any] | None = None,
    ) -> tuple[int, int]:
        """Let `write` commit the rows; gives the table's version and how many rows Delta says it wrote.

        The commit says who made it, of what, and by which `key` the table is keyed from then on.
        """
        marks = {
            **(said or {}),
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
        self.spark.conf.set(COMMIT_METADATA, mark)
        try:
            write(rows)
        except (Py4JJavaError, PySparkException) as error:
            rule = _broken_rule(str(error))
            if rule is None:
                raise
            raise ContractError(
                f"{table.title}: {rule}; nothing was written: correct the rows, or the rule in clm_spark/tables/catalog"
            ) from error
        finally:
            self.spark.conf.unset(COMMIT_METADATA)
        # Delta skips a commit that would change nothing, and another writer may have come after ours.
        recent = DeltaTable.forName(self.spark, self.name(table)).history(COMMITS_LOOKED_AT).collect()
        ours = next((commit for commit in recent if commit["userMetadata"] == mark), None)
        if ours is None:
            return int(recent[0]["version"]), 0
        return int(ours["version"]), int((ours["operationMetrics"] or {}).get("numOutputRows", 0))


def _squeezed(rule: str) -> str:
    return "".join(rule.split()).lower()


def _values(value: SliceValue) -> list[Any]:
    return [value] if isinstance(value, str | date) else list(value)


def _is_in(column: str, value: SliceValue) -> Expr:
    values = _values(value)
    return F.col(column).isin(values) if len(values) != 1 else F.col(column) == F.lit(values[0])


def _keep_last_version(rows: DataFrame, table: Table) -> DataFrame:
    """The row with the latest `known_on` of each key."""
    key = [column for column in table.key if column != "known_on"]
    latest = Window.partitionBy(*key).orderBy(F.col("known_on").desc())
    return rows.withColumn("_age", F.row_number().over(latest)).where(F.col("_age") == 1).drop("_age")


def _num_unique(rows: DataFrame, table: Table) -> int:
    """How many rows; raises `ContractError` when a key comes twice."""
    per_key = rows.groupBy(*table.key).agg(F.count("*").alias("n"))
    counted = per_key.agg(
        F.coalesce(F.sum("n"), F.lit(0)).alias("num_rows"),
        F.count_if(F.col("n") > 1).alias("num_repeated"),
        F.max_by(F.struct(*table.key).cast("string"), "n").alias("example"),
    ).head()
    assert counted is not None
    if counted["num_repeated"]:
        raise ContractError(
            f"{table.title}: {counted['num_repeated']} keys come more than once, {counted['example']} among them; "
            f"expected one row per {table.grain} ({', '.join(table.key)}); nothing was written"
        )
    return int(counted["num_rows"])


def _broken_rule(text: str) -> str | None:
    """Delta's own words on the rule that the rows break, without the stack below them; None for other failures."""
    for mark in (
        "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES",
        "DELTA_NOT_NULL_CONSTRAINT_VIOLATED",
        "DELTA_REPLACE_WHERE_MISMATCH",
    ):
        if mark in text:
            said = text.split(f"[{mark}]", 1)[1].split("\n\tat ", 1)[0]
            return " ".join(said.split())
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
