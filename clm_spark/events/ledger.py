"""Which ingested batches a table does not hold yet, from the ledger of the batches processed into it."""

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
class NewBatches:
    """Batches that are not processed into `table` yet; a row per batch, not per event.

    `is_all`: none was processed so far, so the table has to be built from all events.
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


def unprocessed_batches(lake: Lake, table: Table, *, made_with: str = "") -> NewBatches:
    """The complete batches that the table does not hold; all of them where `made_with` changed.

    Call it before silver.events is read: a batch completed after this call is left to the next run.
    """
    digest = hashlib.sha256(made_with.encode()).hexdigest()
    same = ["batch_id", "num_kept", "events_version"]  # a second replay of a day has the same batch_id
    batches = lake.read(INGESTED_BATCHES).where(F.col("num_kept") > 0).select(same)
    is_all = True
    if lake.exists(table) and lake.exists(WORKED_BATCHES):
        processed = _processed(lake, table).where(F.col("made_with") == digest)
        is_all = processed.isEmpty()
        batches = batches.join(processed, on=same, how="left_anti")
    return NewBatches(table, digest, tuple(sorted(map(tuple, batches.collect()))), is_all)


def mark_processed(lake: Lake, new: NewBatches) -> None:
    """Record that the batches are processed. Call it last: until then a run that fails does them again."""
    rows = [(new.table.title, *batch, new.made_with) for batch in new.batches]
    processed = lake.spark.createDataFrame(rows, WORKED_BATCHES.schema)
    if not new.is_all:
        names = processed.select("batch_id")
        processed = processed.unionByName(_processed(lake, new.table).join(names, on="batch_id", how="left_anti"))
    # The key is proven: each batch comes once, and its earlier row is left out above.
    lake.replace(processed, into=WORKED_BATCHES, is_key_proven=True, table_name=new.table.title)


def _processed(lake: Lake, table: Table) -> DataFrame:
    return lake.read(WORKED_BATCHES).where(F.col("table_name") == table.title)


def is_on_days(time: str, days: Sequence[date]) -> Column:
    """Whether a time falls on one of the days, written as ranges of time, so that file statistics skip files."""
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
