"""What a lakehouse writes down once, when it takes in its first records: the shop's zone and the end of its history."""

from datetime import date

from clm_spark.errors import ContractError
from clm_spark.settings import Settings
from clm_spark.sources.source import Source
from clm_spark.tables.catalog import INGESTED_BATCHES
from clm_spark.tables.lake import Lake
from clm_spark.tables.schemas import ZONE_PROPERTY

HISTORY_PROPERTY = "clm.history_until"


def as_begun(lake: Lake, source: Source, settings: Settings) -> Settings:
    """The settings with `shop.time_zone` and `ingest.history_until` as the lakehouse has them, from its first complete batch on.

    Raises `ContractError` where the settings name another end of the history.
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
