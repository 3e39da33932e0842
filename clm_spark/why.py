"""What made the rows of a day: job, versions of the tables read, settings and code, and the same of those tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from clm_spark.errors import SettingsError
from clm_spark.tables.catalog import TABLES
from clm_spark.tables.commits import Commit, last_write_of
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake


@dataclass(frozen=True)
class Reason:
    """A table, the commit that made the rows in question, and how many steps upstream of the question it stands."""

    table: Table
    commit: Commit
    depth: int


def reasons(lake: Lake, table: Table, as_of: date) -> Iterator[Reason]:
    """The write that left what the table says for `as_of`, followed by what that was made of, each table once.

    Tables that speak for no day are asked for their last write. Raises `SettingsError` where none is known: the day was
    never made, or so long ago that the table's log has forgotten.
    """
    commits = lake.commits(table)
    is_by_day = table.clock == "as_of"
    made = last_write_of(commits, column="as_of", day=as_of) if is_by_day else next(_ours(commits), None)
    if made is None:
        days = sorted({day for commit in commits for day in commit.values("as_of") or []})
        known = f"made were {days[0]} to {days[-1]}" if days else "it was never made"
        raise SettingsError(
            f"nothing is known of {table.title} as of {as_of}: expected a day that a job has made, {known}; run its job "
            "for that day (`clm jobs` says which)"
        )
    yield from _upstream(lake, Reason(table, made, 0), seen={table.title})


def _upstream(lake: Lake, reason: Reason, *, seen: set[str]) -> Iterator[Reason]:
    yield reason
    by_title = {table.title: table for table in TABLES}
    # What a job read of its own table is no reason for it.
    inputs = {title: version for title, version in reason.commit.inputs.items() if title not in seen}
    seen |= set(inputs)
    for title, version in inputs.items():
        older = (commit for commit in _ours(lake.commits(by_title[title])) if commit.version <= version)
        made = next(older, None)
        if made is not None:
            yield from _upstream(lake, Reason(by_title[title], made, reason.depth + 1), seen=seen)


def _ours(commits: list[Commit]) -> Iterator[Commit]:
    return (commit for commit in commits if commit.is_ours)
