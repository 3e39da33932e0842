"""events, identities, bot_days, customer_item_days, item_days -> item_indices, item_vocabulary, interactions, item_sequences: what recommenders train on."""

from clm_spark.features.panel import recommender_days
from clm_spark.features.refresh_vocabulary import update_interactions, update_item_sequences, update_item_vocabulary
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Build the two days that recommenders need: as_of, and the one that their test starts from."""
    days = recommender_days(settings)
    update_item_vocabulary(lake, days)
    update_interactions(lake, days)
    update_item_sequences(lake, days)


if __name__ == "__main__":
    raise SystemExit(main(run))
