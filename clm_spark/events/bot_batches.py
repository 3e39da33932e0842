"""Which batches are still to be searched for bots, and which days they touch: the cost follows what came in."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.catalog import BOT_BATCHES, BOT_DAYS, INGESTED_BATCHES
from clm_spark.tables.lake import Lake

DAY = timedelta(days=1)


def batches_to_search(lake: Lake) -> list[tuple[str, int, str]]:
    """Signed-off batches that were not searched by today's rules, as silver.bot_batches wants them; one row each."""
    rules = hashlib.sha256(lake.settings.bots.model_dump_json(exclude={"leave_out"}).encode()).hexdigest()
    signed_off = lake.read(INGESTED_BATCHES).where(F.col("num_kept") > 0)
    batches = signed_off.select("batch_id", "num_kept", F.lit(rules).alias("rules"))
    if lake.exists(BOT_BATCHES):
        batches = batches.join(lake.read(BOT_BATCHES), on=batches.columns, how="left_anti")
    return sorted(map(tuple, batches.collect()))


def days_of(events: DataFrame, batch_ids: Sequence[str]) -> list[date]:
    """The days on which the events of these batches happened."""
    of_batches = events.where(F.col("batch_id").isin(*batch_ids))
    days = of_batches.select(F.to_date("occurred_at").alias("day_on")).distinct().collect()
    return sorted(row["day_on"] for row in days)


def keep_days(events: DataFrame, days: Sequence[date]) -> DataFrame:
    """All events of the days, by ranges of `occurred_at`, whose statistics spare the files of all other days."""
    wanted = F.lit(False)
    for first, last in _runs(days):
        wanted |= (F.col("occurred_at") >= F.lit(first)) & (F.col("occurred_at") < F.lit(last + DAY))
    return events.where(wanted)


def bot_days_to_leave_out(lake: Lake) -> DataFrame | None:
    """The flagged days; None where there are none, or the settings keep bots among the customers."""
    if not lake.settings.bots.leave_out or not lake.exists(BOT_DAYS):
        return None
    bot_days = lake.read(BOT_DAYS)
    return None if bot_days.isEmpty() else bot_days


def _runs(days: Sequence[date]) -> Iterator[tuple[date, date]]:
    """First and last day of each run of days without a gap."""
    known = set(days)
    starts = [day for day in days if day - DAY not in known]
    ends = [day for day in days if day + DAY not in known]
    yield from zip(starts, ends, strict=True)
