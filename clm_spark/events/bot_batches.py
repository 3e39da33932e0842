"""Which batches are still to be searched for bots, and which days they touch: the cost follows what came in."""

import hashlib

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.catalog import BOT_BATCHES, BOT_DAYS, INGESTED_BATCHES
from clm_spark.tables.lake import Lake


def batches_to_search(lake: Lake) -> list[tuple[str, int, str]]:
    """Signed-off batches that were not searched by today's rules, as silver.bot_batches wants them; one row each."""
    rules = hashlib.sha256(lake.settings.bots.model_dump_json(exclude={"leave_out"}).encode()).hexdigest()
    signed_off = lake.read(INGESTED_BATCHES).where(F.col("num_kept") > 0)
    batches = signed_off.select("batch_id", "num_kept", F.lit(rules).alias("rules"))
    if lake.exists(BOT_BATCHES):
        batches = batches.join(lake.read(BOT_BATCHES), on=batches.columns, how="left_anti")
    return sorted(map(tuple, batches.collect()))


def bot_days_to_leave_out(lake: Lake) -> DataFrame | None:
    """The flagged days; None where there are none, or the settings keep bots among the customers."""
    if not lake.settings.bots.leave_out or not lake.exists(BOT_DAYS):
        return None
    bot_days = lake.read(BOT_DAYS)
    return None if bot_days.isEmpty() else bot_days
