"""files or Kafka messages -> raw_events, events, rejected_events: streaming ingestion."""

from clm_spark.events.ingest.stream import stream_files, stream_topic
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.sources import open_source
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Ingest what is there and end, or run until stopped, by `stream.until`."""
    source = open_source(settings.ingest)
    stream = stream_topic if settings.stream.topic else stream_files
    stream(lake, source, settings)


if __name__ == "__main__":
    raise SystemExit(main(run))
