"""rejected_events -> events, rejected_events: ingest rejected records that can be used by now."""

from clm_spark.events.ingest.replay import replay_rejected
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.sources import open_source
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Replay the rejected records of the source that the settings name."""
    replay_rejected(lake, open_source(settings.ingest), settings)


if __name__ == "__main__":
    raise SystemExit(main(run))
