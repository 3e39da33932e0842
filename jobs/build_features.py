"""ingested_batches, events, identities, bot_days -> customer_days, customer_features: partial aggregates per day, then windows over them."""

from clm_spark.features.panel import panel_days
from clm_spark.features.partials import update_customer_days
from clm_spark.features.refresh import update_customer_features
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Refresh the partials, then write the features of as_of and of the training days before it."""
    update_customer_days(lake, settings)
    update_customer_features(lake, panel_days(settings))


if __name__ == "__main__":
    raise SystemExit(main(run))
