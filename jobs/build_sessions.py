"""ingested_batches, events, identities, bot_days -> sessions: sessionize each customer's events."""

from clm_spark.events.visits.repair import build_sessions
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Update the visits to what is known today, whatever the as_of: by person, and without bots."""
    build_sessions(lake, settings)


if __name__ == "__main__":
    raise SystemExit(main(run))
