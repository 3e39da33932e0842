"""events, bot_days -> sessions: cut each customer's events into visits."""

from datetime import timedelta

from clm_spark.config import Settings
from clm_spark.events.bot_batches import bot_days_to_leave_out
from clm_spark.events.bots import drop_bot_days
from clm_spark.events.sessions import sessions_from_events, with_session_id
from clm_spark.job import main
from clm_spark.tables.catalog import EVENTS, SESSIONS
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Rebuild the visits of the whole log: they depend on the events alone, whatever the as_of."""
    events = drop_bot_days(lake.read(EVENTS), bot_days_to_leave_out(lake))
    max_gap = timedelta(minutes=settings.sessions.max_gap_minutes)
    visits = sessions_from_events(with_session_id(events, max_gap=max_gap))
    lake.replace(visits, into=SESSIONS, is_key_proven=True)  # grouped by its key


if __name__ == "__main__":
    raise SystemExit(main(run))
