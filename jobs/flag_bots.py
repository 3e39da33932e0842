"""ingested_batches, events -> bot_days: flag the days on which a customer was a bot."""

import logging
from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.bots import COARSE_CLOCK_US, CUSTOMER_DAY, bot_days_from_events, sources_without_minutes
from clm_spark.events.guests import drop_guests
from clm_spark.events.ledger import days_of, is_on_days, mark_processed, unprocessed_batches
from clm_spark.job import main
from clm_spark.settings import BotSettings, Settings
from clm_spark.tables.catalog import BOT_DAYS, EVENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Search all days that new batches have events of; flags depend on the events alone, whatever the as_of."""
    batches = unprocessed_batches(lake, BOT_DAYS, made_with=made_with(settings.bots, zone=lake.time_zone))
    if not batches:
        log.info("no new events to search for bots")
        return
    events = drop_guests(lake.read(EVENTS))
    if settings.bots.max_per_minute is not None:
        _say_where_no_rate_is_told(events.where(F.col("batch_id").isin(batches.names)))
    days = days_of(events.where(F.col("batch_id").isin(batches.names)), "occurred_at", "occurred_at")
    found = bot_days_from_events(events.where(is_on_days("occurred_at", days)), rules=settings.bots)
    lake.replace(found, into=BOT_DAYS, is_key_proven=True, day_on=days)  # grouped by its key
    mark_processed(lake, batches)
    _warn_of_many(lake, events.where(is_on_days("occurred_at", days)), days, settings)


def made_with(rules: BotSettings, *, zone: str) -> str:
    """What the flags follow from beside the events: after a change all days are searched again."""
    limits = rules.model_dump_json(exclude={"leave_out", "max_share"})
    return f"{limits}, clocks coarser than {COARSE_CLOCK_US}, days of {zone}"


def _say_where_no_rate_is_told(events: DataFrame) -> None:
    for row in sources_without_minutes(events).collect():  # bounded by the shop's sources
        log.warning(
            "the times of %s are all multiples of five minutes: bots.max_per_minute does not apply to them, the rules of a "
            "day do",
            row["source"],
        )


def _warn_of_many(lake: Lake, events: DataFrame, days: Sequence[date], settings: Settings) -> None:
    """Say what share of the customers' days searched is flagged: people may have been taken for bots."""
    flagged = (
        lake.beside().read(BOT_DAYS).where(F.col("day_on").isin(list(days))).select(*CUSTOMER_DAY).distinct().count()
    )
    if not flagged:
        return
    searched = events.select("customer_id", F.to_date("occurred_at").alias("day_on")).distinct().count()
    share, limit = flagged / searched, settings.bots.max_share
    log.info("%s of %s customers' days (%.1f %%) are flagged as bots'", f"{flagged:,}", f"{searched:,}", 100 * share)
    if share > limit:
        log.warning(
            "expected at most %.0f %% (bots.max_share): look at silver.bot_days for the rule that most of them break, and "
            "at its limit in the settings of bots",
            100 * limit,
        )


if __name__ == "__main__":
    raise SystemExit(main(run))
