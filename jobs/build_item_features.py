"""ingested_batches, events, identities, bot_days -> customer_item_days, item_days, item_features, pair_features, customer_categories, customer_tastes."""

from clm_spark.features.panel import item_days
from clm_spark.features.partials import update_customer_item_days, update_item_days
from clm_spark.features.refresh import update_item_features, update_pair_features
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Refresh the partials, then write the features of as_of and of the day that the recommenders' test starts from."""
    update_customer_item_days(lake)
    update_item_days(lake)
    days = item_days(settings)
    update_item_features(lake, days)
    update_pair_features(lake, days)


if __name__ == "__main__":
    raise SystemExit(main(run))
