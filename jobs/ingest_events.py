"""raw files -> raw_events, events, rejected_events: ingest what is new."""

import logging

from clm_spark.events.ingest.batches import ingest_files
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.sources import open_source
from clm_spark.sources.source import list_files
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Ingest every new file at `ingest.path`."""
    source = open_source(settings.ingest)
    files = list_files(lake.spark, settings.ingest.path, endings=source.file_endings)
    if not ingest_files(lake, source, files, settings):
        log.info("nothing new at %s", settings.ingest.path)


if __name__ == "__main__":
    raise SystemExit(main(run))
