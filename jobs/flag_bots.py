"""ingested_batches, events -> bot_days, bot_batches: find the days on which a customer was a machine."""

import logging

from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.events.bot_batches import batches_to_search
from clm_spark.events.bots import bot_days_from_events
from clm_spark.events.ledger import days_of, is_on_days
from clm_spark.job import main
from clm_spark.tables.catalog import BOT_BATCHES, BOT_DAYS, EVENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Search the days that new batches brought events of, whole: they depend on the events alone, whatever the as_of."""
    batches = batches_to_search(lake)
    if not batches:
        log.info("no new events to search for bots")
        return
    events = lake.read(EVENTS)
    new = events.where(F.col("batch_id").isin([batch_id for batch_id, *_ in batches]))
    days = days_of(new, "occurred_at", "occurred_at")
    found = bot_days_from_events(events.where(is_on_days("occurred_at", days)), rules=settings.bots)
    lake.replace(found, into=BOT_DAYS, is_key_proven=True, day_on=days)  # grouped by its key
    # Last: after a crash the same batches are searched again.
    lake.merge(lake.spark.createDataFrame(batches, BOT_BATCHES.schema), into=BOT_BATCHES)


if __name__ == "__main__":
    raise SystemExit(main(run))
