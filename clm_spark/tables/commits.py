"""What a table's commits say of themselves: who made them, from which versions of which tables, and of which days."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import Row, SparkSession

COMMIT_MARK = "clm-spark"
MIGRATION = "migration"  # in a mark: what `clm migrate` did
COMMIT_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
# What may stand in a table's history beside our own writes: upkeep, and the RESTORE that a refusal asks for.
UPKEEP = {"CREATE TABLE", "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "ADD CONSTRAINT", "RESTORE"}
# What a migration does to a table without touching its rows.
OF_CONTRACT = {
    "ADD COLUMNS", "CHANGE COLUMN", "CHANGE COLUMNS", "DROP CONSTRAINT", "UNSET TBLPROPERTIES", "SET TABLE COMMENT",
}  # fmt: skip


@dataclass(frozen=True)
class Commit:
    """One commit of a table."""

    version: int
    operation: str
    mark: Mapping[str, Any]  # what our writer recorded; empty for others' commits

    @property
    def is_ours(self) -> bool:
        """Whether a job of ours wrote rows with it; a migration carries rows on, and says so instead."""
        return self.mark.get("by") == COMMIT_MARK and MIGRATION not in self.mark

    @property
    def changes_rows(self) -> bool:
        """Whether rows may differ after it; a RESTORE is upkeep, and brings other rows back."""
        if MIGRATION in self.mark and self.operation in OF_CONTRACT:
            return False
        return self.is_ours or self.operation not in UPKEEP - {"RESTORE"}

    @property
    def inputs(self) -> Mapping[str, int]:
        """Delta version of every table that was read for it, by title."""
        found: Mapping[str, int] = self.mark.get("inputs", {})
        return found

    def values(self, column: str) -> list[str] | None:
        """The slices that it replaced, as text; None: not by this column, so any row may be another."""
        found: list[str] | None = self.mark.get("slices", {}).get(column)
        return found

    @classmethod
    def of(cls, row: Row) -> "Commit":
        """From a row of the table's history."""
        return cls(int(row["version"]), row["operation"], mark_of(row))


@contextmanager
def marked(spark: SparkSession, mark: str) -> Iterator[None]:
    """Let the commits of this session say `mark` of themselves."""
    spark.conf.set(COMMIT_METADATA, mark)
    try:
        yield
    finally:
        spark.conf.unset(COMMIT_METADATA)


def standing(commits: Sequence[Row]) -> list[Row]:
    """Those of these commits, newest first, that no RESTORE undid."""
    left, last = [], float("inf")
    for commit in commits:
        if commit["version"] > last:
            continue
        left.append(commit)
        if commit["operation"] == "RESTORE" and (commit["operationParameters"] or {}).get("version"):
            last = int(commit["operationParameters"]["version"])
    return left


def mark_of(commit: Row) -> dict[str, Any]:
    """What our writer recorded with a commit; nothing of others' commits."""
    try:
        mark = json.loads(commit["userMetadata"] or "{}")
    except json.JSONDecodeError:
        return {}
    return mark if isinstance(mark, dict) else {}


def days_changed(commits: Sequence[Commit], *, since: int, column: str) -> set[date] | None:
    """The days of `column` that commits after version `since` wrote; None where that is unknown.

    `commits` run from the newest back, without a gap, as far as the log remembers.
    """
    later = [commit for commit in commits if commit.version > since]
    if len(later) != (commits[0].version if commits else since) - since:
        return None
    written = [commit.values(column) for commit in later if commit.changes_rows]
    if any(values is None for values in written):
        return None
    return {date.fromisoformat(value) for values in written if values for value in values}


def last_write_of(commits: Iterable[Commit], *, column: str, day: date) -> Commit | None:
    """The newest commit that wrote the day of `column`, or the whole table; None where none is known for certain."""
    for commit in commits:
        if not commit.changes_rows:
            continue
        values = commit.values(column)
        if values is None or str(day) in values:
            return commit if commit.is_ours else None
    return None
