"""What the ledger of batches says about work done before: which events it could not see yet."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.catalog import INGESTED_BATCHES
from clm_spark.tables.lake import Lake, Origin

ONE_DAY = timedelta(days=1)


def batches_since(lake: Lake, origin: Origin) -> list[str] | None:
    """Batches signed off since the ledger that the origin has read; None where its history does not reach back.

    By the ledger, not by the version of silver.events: a batch may be written before a job looks, and signed after.
    Bounded by the number of batches, not of events.
    """
    seen = origin.inputs.get(INGESTED_BATCHES.title)
    before = None if seen is None else lake.read_version(INGESTED_BATCHES, seen)
    if before is None:
        return None
    batches = lake.read(INGESTED_BATCHES).where(F.col("num_kept") > 0)
    # A batch that is replayed again keeps its name.
    later = batches.join(before, on=["batch_id", "num_kept", "events_version"], how="left_anti")
    return [row["batch_id"] for row in later.select("batch_id").orderBy("batch_id").collect()]


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
