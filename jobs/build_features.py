"""events, identities, bot_days -> customer_days, customer_features: partial aggregates per day, then windows over them."""

from datetime import timedelta

from clm_spark.config import Settings
from clm_spark.events.bots import bot_days_to_leave_out, with_flagged_on
from clm_spark.events.identity import known_persons
from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customers import customer_features
from clm_spark.features.panel import panel_days
from clm_spark.job import main
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES, EVENTS
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Rebuild the partials of the log, then the features of as_of and of the training days before it."""
    max_gap = timedelta(minutes=settings.sessions.max_gap_minutes)
    events = with_flagged_on(lake.read(EVENTS), bot_days_to_leave_out(lake))
    partials = customer_days_from_events(events, max_gap=max_gap)
    lake.replace(partials, into=CUSTOMER_DAYS, is_key_proven=True)  # as the features, grouped by its key
    days = panel_days(settings)
    features = customer_features(lake.read(CUSTOMER_DAYS), days=days, persons=known_persons(lake, days))
    lake.replace(features, into=CUSTOMER_FEATURES, is_key_proven=True, as_of=days)


if __name__ == "__main__":
    raise SystemExit(main(run))
