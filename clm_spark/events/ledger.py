"""What the ledger of batches says about work done before: which events it could not see yet."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.catalog import INGESTED_BATCHES, WORKED_BATCHES
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class News:
    """Batches that are not worked into a table yet; a row per batch, not per event.

    `is_all` says that none is, so that the table may as well be made anew.
    """

    table: Table
    made_with: str
    batches: tuple[tuple[str, int, int], ...]  # batch_id, num_kept, events_version
    is_all: bool

    def __bool__(self) -> bool:
        return bool(self.batches)

    @property
    def names(self) -> list[str]:
        """Their ids."""
        return [batch_id for batch_id, *_ in self.batches]


def batches_new_to(lake: Lake, table: Table, *, made_with: str = "") -> News:
    """Batches signed off that the table does not hold; all of them, where it was `made_with` something else.

    Look before you read silver.events: what is signed off after this look is new the next time.
    """
    digest = hashlib.sha256(made_with.encode()).hexdigest()
    same = ["batch_id", "num_kept", "events_version"]  # a batch that is replayed again keeps its name
    batches = lake.read(INGESTED_BATCHES).where(F.col("num_kept") > 0).select(same)
    is_all = True
    if lake.exists(table) and lake.exists(WORKED_BATCHES):
        worked = _worked(lake, table).where(F.col("made_with") == digest)
        is_all = worked.isEmpty()
        batches = batches.join(worked, on=same, how="left_anti")
    return News(table, digest, tuple(sorted(map(tuple, batches.collect()))), is_all)


def mark_worked(lake: Lake, news: News) -> None:
    """Note that the batches are in: the last thing to do, as until then they are new."""
    rows = [(news.table.title, *batch, news.made_with) for batch in news.batches]
    worked = lake.spark.createDataFrame(rows, WORKED_BATCHES.schema)
    if not news.is_all:
        names = worked.select("batch_id")
        worked = worked.unionByName(_worked(lake, news.table).join(names, on="batch_id", how="left_anti"))
    # The ledger has a batch once, and stored rows of these names are left out above.
    lake.replace(worked, into=WORKED_BATCHES, is_key_proven=True, table_name=news.table.title)


def _worked(lake: Lake, table: Table) -> DataFrame:
    return lake.read(WORKED_BATCHES).where(F.col("table_name") == table.title)


def is_on_days(time: str, days: Sequence[date]) -> Column:
    """Whether a time falls on one of the days, as ranges: the statistics that spare a table's files know no days."""
    is_on = F.lit(False)
    for first, last in _ranges(sorted(set(days))):
        is_on |= (F.col(time) >= F.lit(first)) & (F.col(time) < F.lit(last + ONE_DAY))
    return is_on


def days_of(rows: DataFrame, first: str, last: str) -> list[date]:
    """Every day that the rows touch from one time to another; bounded by the days of the log."""
    every_day = F.explode(F.sequence(F.to_date(first), F.to_date(last)))
    return sorted(row["day"] for row in rows.select(every_day.alias("day")).distinct().collect())


def _ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    found: list[tuple[date, date]] = []
    for day in days:
        if found and day - found[-1][1] == ONE_DAY:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found
