"""What is refused: frames that break their contract, and stored tables that are not as we left them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

import clm_spark
from clm_spark.errors import ContractError
from clm_spark.tables.catalog import TABLES
from clm_spark.tables.contract import Table
from clm_spark.tables.keyed import check_whole, table_keys
from clm_spark.tables.schemas import Schemas
from clm_spark.tables.sealed import RECORDS_PROPERTY, way_to_keep
from clm_spark.tables.stored import RELEASE_PROPERTY, Stored, schema_differences

# Around what a frame's own check says, so that it is found again inside Spark's exception.
_BEGIN, _END = "[clm-spark] ", " [/clm-spark]"
FIRST_RELEASE = "0.1.0"  # which wrote its number into no table
_MARKS_OF_DELTA = (
    "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES",
    "DELTA_NOT_NULL_CONSTRAINT_VIOLATED",
    "DELTA_REPLACE_WHERE_MISMATCH",
)


def check_schema(schema: T.StructType, table: Table) -> None:
    """Refuse a frame that differs from the contract, listing every difference at once."""
    differences = schema_differences(schema, table.schema)
    if differences:
        raise ContractError(
            f"{table.title}: the frame breaks its contract: {'; '.join(differences)}; "
            "mend the frame, or the declaration in clm_spark/tables/catalog"
        )


def with_values_checked(rows: DataFrame, table: Table) -> DataFrame:
    """The same rows; writing one that holds a value outside its column's closed list fails, without a pass of its own."""
    checked = {}
    for column in table.columns:
        if column.values:
            value, listed = F.col(column.name), ", ".join(column.values)
            message = F.lit(f"{_BEGIN}column {column.name} holds '"), value, F.lit(f"', expected one of {listed}{_END}")
            is_listed = value.isNull() | value.isin(list(column.values))
            checked[column.name] = F.when(is_listed, value).otherwise(F.raise_error(F.concat(*message)))
    return rows.withColumns(checked) if checked else rows


def num_unique(rows: DataFrame, table: Table) -> int:
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


def broken_rule(error: Exception, table: Table) -> ContractError | None:
    """What the rows break, in Delta's words or ours, without the stack below them; None for other failures."""
    text = str(error)
    message = _between(text, _BEGIN, _END)
    for mark in _MARKS_OF_DELTA:
        message = message or _between(text, f"[{mark}]", "\n\tat ")
    if message is None:
        return None
    return ContractError(
        f"{table.title}: {message}; nothing was written: mend the rows, or the rule in clm_spark/tables/catalog"
    )


@dataclass
class Guard:
    """Checks stored tables against today's contracts and settings."""

    schemas: Schemas
    _is_whole: bool = False  # no change of key is under way

    def check(self, table: Table) -> Stored:
        """Refuse a table unless it is as we left it, keyed by the lakehouse's key, records kept as settings say."""
        stored = self.check_stored(table)
        refused = self.refused_records(table, stored.properties)
        if refused:
            raise ContractError(refused)
        self.check_whole()
        if table.is_keyed:
            self._check_key(table, stored.commits)
        return stored

    def check_whole(self) -> None:
        """Refuse a lakehouse that is half re-keyed; looked at once."""
        if not self._is_whole:
            check_whole(self.schemas.key_record(), self.schemas.settings.lakehouse.path)
            self._is_whole = True

    def check_stored(self, table: Table) -> Stored:
        """Refuse a table that was changed by hand, or that another release left."""
        self.schemas.check_shop(table.layer)
        stored = self.read(table)
        problems = stored.differences(table)
        if problems and stored.is_as_we_left_it:
            raise ContractError(self._behind(table, stored))
        if problems or stored.foreign_commit:
            raise ContractError(changed_by_hand(table, stored))
        return stored

    def read(self, table: Table) -> Stored:
        """The table as it lies there."""
        return Stored.read(self.schemas.spark, self.schemas.table_name(table), table)

    def _behind(self, table: Table, stored: Stored) -> str:
        """One line on all tables of the lakehouse that are not of this release, `table` among them."""
        path, release = self.schemas.settings.lakehouse.path, stored.properties.get(RELEASE_PROPERTY, FIRST_RELEASE)
        if _parts(release) > _parts(clm_spark.__version__):
            return (
                f"{table.title} in lakehouse {path} is of release {release}, and this is {clm_spark.__version__}: "
                "run that release or a later one"
            )
        there = [each for each in TABLES if self.schemas.spark.catalog.tableExists(self.schemas.table_name(each))]
        behind = {table.title} | {each.title for each in there if self.read(each).differences(each)}
        return (
            f"lakehouse {path} is behind this release ({clm_spark.__version__}) in {', '.join(sorted(behind))}: "
            f"bring it up to date with `clm migrate --as-of {self.schemas.settings.as_of}`"
        )

    def refused_records(self, table: Table, properties: Mapping[str, str]) -> str | None:
        """Why the table's raw records are not kept as settings say; None where they are, or there are none."""
        keeps_raw_ids = self.schemas.settings.privacy.keep_raw_ids
        kept, wanted = properties.get(RECORDS_PROPERTY, "plain"), way_to_keep(keeps_raw_ids=keeps_raw_ids)
        if table.record is None or kept == wanted:
            return None
        return (
            f"{table.title} keeps its records {kept}, and privacy.keep_raw_ids={str(keeps_raw_ids).lower()} wants them "
            f"{wanted}: set it to {str(not keeps_raw_ids).lower()}, or run `clm rotate-key`, which also keeps records as "
            "the settings say"
        )

    def _check_key(self, table: Table, commits: Sequence[Row]) -> None:
        keys, record = table_keys(commits), self.schemas.key_record()
        if keys and record and keys[0] != record.now:
            raise ContractError(
                f"{table.title} is keyed by {keys[0]}, and its lakehouse by {record.now}: it was restored from before a "
                "change of key, or written during one; run `clm rotate-key`, which re-keys what is left"
            )


def _between(text: str, begin: str, end: str) -> str | None:
    if begin not in text:
        return None
    return " ".join(text.split(begin, 1)[1].split(end, 1)[0].split())


def changed_by_hand(table: Table, stored: Stored) -> str:
    """What was changed, and what to do about it."""
    problems, foreign = stored.differences(table), stored.foreign_commit
    if foreign:
        problems.append(f"version {foreign['version']} is a {foreign['operation']} that clm-spark did not make")
    return (
        f"{table.title} was changed by hand: {'; '.join(problems)}; restore the version before "
        f"(RESTORE TABLE {stored.name} TO VERSION AS OF ...), or drop it and run its job again"
    )


def _parts(release: str) -> list[int]:
    return [int(part) for part in release.split(".") if part.isdecimal()]
