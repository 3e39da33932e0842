"""One module per raw format, each to the fields of the canonical event."""

from collections.abc import Callable
from pathlib import Path

from clm_spark.errors import SettingsError
from clm_spark.settings import IngestSettings
from clm_spark.sources.complete_journey import CompleteJourney
from clm_spark.sources.eshop import Eshop
from clm_spark.sources.mapped import MappedSource
from clm_spark.sources.mapping import read_mapping
from clm_spark.sources.rees46 import Rees46
from clm_spark.sources.retailrocket import Retailrocket
from clm_spark.sources.source import Source
from clm_spark.sources.yoochoose import Yoochoose

__all__ = ["SOURCES", "open_source"]


def _mapping(ingest: IngestSettings) -> Source:
    mapping = read_mapping(ingest.mapping)
    return MappedSource(mapping, name=Path(ingest.mapping or "").stem, time_zone=ingest.time_zone)


SOURCES: dict[str, Callable[[IngestSettings], Source]] = {
    "complete_journey": lambda ingest: CompleteJourney(ingest.path),
    "eshop": lambda _: Eshop(),
    "mapping": _mapping,
    "rees46": lambda _: Rees46(),
    "retailrocket": lambda _: Retailrocket(),
    "yoochoose": lambda _: Yoochoose(),
}


def open_source(ingest: IngestSettings) -> Source:
    """The source that the settings name. Raises `SettingsError` for an unknown source or an unusable mapping."""
    if ingest.source not in SOURCES:
        known = ", ".join(sorted(SOURCES))
        raise SettingsError(f"ingest.source {ingest.source!r} is unknown: expected one of {known}")
    return SOURCES[ingest.source](ingest)
