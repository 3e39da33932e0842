"""What a lakehouse writes down once, when it takes in its first records: the shop's zone and the end of its history."""

import logging
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from pyspark.sql import functions as F

from clm_spark.errors import ContractError
from clm_spark.events.ledger import ONE_DAY
from clm_spark.settings import Settings
from clm_spark.sources.source import Source
from clm_spark.tables.catalog import INGESTED_BATCHES
from clm_spark.tables.lake import Lake
from clm_spark.tables.schemas import ZONE_PROPERTY

log = logging.getLogger(__name__)
HISTORY_PROPERTY = "clm.history_until"


def as_begun(lake: Lake, source: Source, settings: Settings) -> Settings:
    """The settings with `shop.time_zone` and `ingest.history_until` as the lakehouse has them, from its first complete batch on.

    A history that ends long after its last event, as where the first as_of had a wrong year, ends at an earlier as_of that
    comes later, if that is after all events. Raises `ContractError` where the settings name another end of the history.
    """
    # A load that was refused has begun nothing.
    schemas, is_first = lake.schemas, not lake.exists(INGESTED_BATCHES) or lake.read(INGESTED_BATCHES).isEmpty()
    if is_first:
        schemas.record(ZONE_PROPERTY, settings.shop.time_zone or source.time_zone)
    asked, written = settings.ingest.history_until, schemas.recorded(HISTORY_PROPERTY)
    if is_first or written is None:
        written = str(asked or settings.as_of)
        schemas.record(HISTORY_PROPERTY, written)
    until = date.fromisoformat(written)
    if asked is None and settings.as_of < until and _ends_too_late(lake, until, settings):
        log.info("the history ends on %s, no longer on %s, which is long after its last event", settings.as_of, until)
        until = settings.as_of
        schemas.record(HISTORY_PROPERTY, str(until))
    if asked not in (None, until):
        raise ContractError(
            f"the history of lakehouse {settings.lakehouse.path} ends on {until}, as written at its first load, and "
            f"ingest.history_until is {asked}: events known since then follow from it; leave the setting out"
        )
    return settings.model_copy(
        update={
            "shop": settings.shop.model_copy(update={"time_zone": schemas.time_zone}),
            "ingest": settings.ingest.model_copy(update={"history_until": until}),
        }
    )


def warn_of_late_end(lake: Lake, settings: Settings) -> None:
    """Say where the history ends with this load, long after its last event: jobs that work on events will refuse its as_of."""
    until = settings.ingest.history_until
    if settings.ingest.known_at != "ingested" or until != settings.as_of:
        return
    last_on = last_day(lake, settings)
    if last_on is None or not is_long_after(until, last_on, settings):
        return
    log.warning(
        "the last event is of %s, and as_of is %s: other jobs run for the day after the last event, and what comes until %s counts "
        "as known when it happened; run again with --as-of %s, which then ends the history",
        last_on,
        settings.as_of,
        until,
        last_on + ONE_DAY,
    )


def last_day(lake: Lake, settings: Settings) -> date | None:
    """The shop's day of the last event in silver."""
    if not lake.exists(INGESTED_BATCHES):
        return None
    found = lake.read(INGESTED_BATCHES).agg(F.unix_micros(F.max("last_occurred_at"))).head()
    return None if found is None or found[0] is None else shops_day(found[0], settings)


def shops_day(microseconds: int, settings: Settings) -> date:
    """The shop's day of a moment, given as microseconds since 1970 in UTC."""
    return datetime.fromtimestamp(microseconds / 1e6, ZoneInfo(settings.shop.time_zone or "UTC")).date()


def is_long_after(day: date, last_on: date, settings: Settings) -> bool:
    """Whether a morning lies more quiet days after the last day with an event than the settings allow."""
    return day > last_on + timedelta(days=1 + settings.shop.max_quiet_days)


def _ends_too_late(lake: Lake, until: date, settings: Settings) -> bool:
    last_on = last_day(lake, settings)
    return last_on is not None and is_long_after(until, last_on, settings) and settings.as_of > last_on
