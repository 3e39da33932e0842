"""The lakehouse: the only code that reads or writes tables."""

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import reduce

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import Column as Expr
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.errors import ContractError
from clm_spark.tables.contract import Table, check_schema, schema_differences

log = logging.getLogger(__name__)

SliceValue = date | str | Sequence[date] | Sequence[str]

# What may stand in a table's history beside our own writes: upkeep, and the RESTORE that a refusal asks for.
UPKEEP = {"CREATE TABLE", "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "ADD CONSTRAINT", "RESTORE"}
COMMIT_MARK = "clm-spark"
COMMITS_LOOKED_AT = 20
COMMIT_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


@dataclass(frozen=True)
class Written:
    """One write: a line of the log and a row of the manifest."""

    table: str
    version: int
    num_rows: int
    seconds: float


@dataclass(frozen=True)
class Origin:
    """What a write was made of, kept in its commit: the versions of the tables read, and what the caller says of it."""

    inputs: Mapping[str, int]
    made_with: str | None


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
    _checked: set[str] = field(default_factory=set)

    def name(self, table: Table) -> str:
        """`catalog.schema.table` as SQL wants it."""
        return f"{self.settings.lakehouse.catalog}.{self._schema(table)}.{table.name}"

    def exists(self, table: Table) -> bool:
        """Whether the table has ever been written."""
        return self.spark.catalog.tableExists(self.name(table))

    def read(self, table: Table) -> DataFrame:
        """Every row of the table, as of its last version."""
        self._require(table)
        self.inputs[table.title] = self.version(table)
        return self.spark.table(self.name(table))

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
        `made_with` is kept in the commit, for `origin` to tell.
        """
        undeclared = sorted(set(slices) - set(into.slices))
        if undeclared:
            raise ContractError(f"{into.title} is not replaced by {undeclared}: its slices are {list(into.slices)}")
        place = reduce(lambda a, b: a & b, (_is_in(column, value) for column, value in slices.items()), F.lit(True))

        def write(rows: DataFrame) -> None:
            rows.writeTo(self.name(into)).overwrite(place)

        return self._write(frame, into, write, is_key_proven=is_key_proven, made_with=made_with)

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

    def origin(self, table: Table) -> Origin | None:
        """What the table's last write was made of; None where the table or the record of it is missing."""
        if not self.exists(table):
            return None
        for commit in DeltaTable.forName(self.spark, self.name(table)).history(COMMITS_LOOKED_AT).collect():
            if COMMIT_MARK in (commit["userMetadata"] or ""):
                mark = json.loads(commit["userMetadata"])
                return Origin(mark.get("inputs", {}), mark.get("made_with"))
        return None

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
        if table.title in self._checked:
            return
        if not self.exists(table):
            self._make_schema(table)
            self.spark.sql(ddl(table, self.name(table)))
        self._check_stored(table)

    def _schema(self, table: Table) -> str:
        return str(getattr(self.settings.lakehouse, table.layer))

    def _make_schema(self, table: Table) -> None:
        schema = f"{self.settings.lakehouse.catalog}.{self._schema(table)}"
        self.spark.sql(
            f"CREATE SCHEMA IF NOT EXISTS {schema} COMMENT '{table.layer} tables of clm-spark' "
            f"WITH DBPROPERTIES ('clm.shop' = '{self.settings.shop}')"
        )
        self._check_shop(schema)

    def _check_shop(self, schema: str) -> None:
        described = self.spark.sql(f"DESCRIBE SCHEMA EXTENDED {schema}").where("info_name = 'Properties'").head()
        is_unclaimed = described is None or "(clm.shop," not in described["info_value"]
        if is_unclaimed and not self.spark.sql(f"SHOW TABLES IN {schema}").head(1):
            # A schema that the platform made, still empty: ours from now on.
            self.spark.sql(f"ALTER SCHEMA {schema} SET DBPROPERTIES ('clm.shop' = '{self.settings.shop}')")
            return
        if described is None or f"(clm.shop,{self.settings.shop})" not in described["info_value"]:
            came = described["info_value"] if described else "no owner"
            raise ContractError(
                f"schema {schema} of lakehouse {self.settings.lakehouse.path} holds another shop's data: expected shop "
                f"{self.settings.shop!r}, came {came}; give this shop its own lakehouse.path, or its own schemas"
            )

    def _require(self, table: Table) -> None:
        if table.title in self._checked:
            return
        if not self.exists(table):
            raise ContractError(
                f"{table.title} does not exist in lakehouse {self.settings.lakehouse.path}: expected it written by an "
                "earlier job; run that job first (`clm jobs` lists them in order), or check lakehouse.path"
            )
        self._check_stored(table)

    def _check_stored(self, table: Table) -> None:
        schema = f"{self.settings.lakehouse.catalog}.{self._schema(table)}"
        self._check_shop(schema)
        try:
            stored = self.spark.table(self.name(table)).schema
            properties = {
                row["key"]: row["value"] for row in self.spark.sql(f"SHOW TBLPROPERTIES {self.name(table)}").collect()
            }
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
        self._checked.add(table.title)

    def _write(
        self,
        frame: DataFrame,
        table: Table,
        write: Callable[[DataFrame], None],
        *,
        is_key_proven: bool = False,
        made_with: str | None = None,
    ) -> Written:
        check_schema(frame.schema, table)
        self.create(table)
        start = time.monotonic()
        rows = frame.select(table.schema.names)
        if is_key_proven:
            version, num_rows = self._commit(table, write, rows, made_with)
        else:
            # Counted before the commit, so that a broken key leaves the table as it was; kept, not computed twice.
            rows = rows.persist(StorageLevel.MEMORY_AND_DISK)
            try:
                num_rows = _num_unique(rows, table)
                version, _ = self._commit(table, write, rows, made_with)
            finally:
                rows.unpersist()
        written = Written(table.title, version, num_rows, time.monotonic() - start)
        self.written.append(written)
        log.info("%-27s version %d, %s rows, %.1f s", table.title, written.version, f"{num_rows:,}", written.seconds)
        return written

    def _commit(
        self, table: Table, write: Callable[[DataFrame], None], rows: DataFrame, made_with: str | None
    ) -> tuple[int, int]:
        """Let `write` commit the rows; gives the table's version and how many rows Delta says it wrote."""
        mark = json.dumps(
            {
                "by": COMMIT_MARK,
                "job": self.job,
                "as_of": str(self.settings.as_of),
                "inputs": self.inputs,
                "made_with": made_with,
                "write": uuid.uuid4().hex,
            }
        )
        self.spark.conf.set(COMMIT_METADATA, mark)
        try:
            write(rows)
        except (Py4JJavaError, PySparkException) as error:
            rule = _broken_rule(str(error))
            if rule is None:
                raise
            raise ContractError(
                f"{table.title}: {rule}; nothing was written: mend the rows, or the rule in clm_spark/tables/catalog.py"
            ) from error
        finally:
            self.spark.conf.unset(COMMIT_METADATA)
        # Delta skips a commit that would change nothing, and another writer may have come after ours.
        recent = DeltaTable.forName(self.spark, self.name(table)).history(COMMITS_LOOKED_AT).collect()
        ours = next((commit for commit in recent if commit["userMetadata"] == mark), None)
        if ours is None:
            return int(recent[0]["version"]), 0
        return int(ours["version"]), int((ours["operationMetrics"] or {}).get("numOutputRows", 0))


def ddl(table: Table, name: str) -> str:
    """The statement that makes a Delta table of this contract."""
    columns = ",\n  ".join(
        f"{c.name} {c.type.simpleString()}{'' if c.nullable else ' NOT NULL'} COMMENT '{_quoted(c.comment)}'"
        for c in table.columns
    )
    # As properties of CREATE TABLE the constraints cost nothing; each ALTER TABLE would be a commit of seconds.
    properties = table.properties | {f"delta.constraints.{rule}": text for rule, text in table.constraints.items()}
    listed = ",\n  ".join(f"'{key}' = '{_quoted(value)}'" for key, value in properties.items())
    partitions = f"PARTITIONED BY ({', '.join(table.partitions)})\n" if table.partitions else ""
    comment = _quoted(f"One row per {table.grain}. Key: {', '.join(table.key)}.")
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n  {columns}\n) USING DELTA\n{partitions}"
        f"COMMENT '{comment}'\nTBLPROPERTIES (\n  {listed}\n)"
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _squeezed(rule: str) -> str:
    return "".join(rule.split()).lower()


def _is_in(column: str, value: SliceValue) -> Expr:
    values = [value] if isinstance(value, str | date) else list(value)
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
