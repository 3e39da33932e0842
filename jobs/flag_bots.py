"""ingested_batches, events -> bot_days: flag the days on which a customer was a bot."""

import logging

from pyspark.sql import functions as F

from clm_spark.events.bots import bot_days_from_events
from clm_spark.events.ledger import days_of, is_on_days, mark_processed, unprocessed_batches
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.tables.catalog import BOT_DAYS, EVENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Search all days that new batches have events of; flags depend on the events alone, whatever the as_of."""
    rules = settings.bots.model_dump_json(exclude={"leave_out"})
    batches = unprocessed_batches(lake, BOT_DAYS, made_with=rules)
    if not batches:
        log.info("no new events to search for bots")
        return
    events = lake.read(EVENTS)
    days = days_of(events.where(F.col("batch_id").isin(batches.names)), "occurred_at", "occurred_at")
    found = bot_days_from_events(events.where(is_on_days("occurred_at", days)), rules=settings.bots)
    lake.replace(found, into=BOT_DAYS, is_key_proven=True, day_on=days)  # grouped by its key
    mark_processed(lake, batches)


if __name__ == "__main__":
    raise SystemExit(main(run))
