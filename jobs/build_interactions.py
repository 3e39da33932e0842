"""events, identities, bot_days, customer_item_days, item_days -> item_indices, item_vocabulary, interactions, item_sequences: what recommenders train on."""

from clm_spark.features.panel import panel_days, recommender_days
from clm_spark.features.refresh_vocabulary import update_interactions, update_item_sequences, update_item_vocabulary
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Build the two days that recommenders need: as_of, and the one that their test starts from.

    Sequences, and the vocabulary that they need, are of all days of the panel where a setting asks for these.
    """
    days = recommender_days(settings)
    of_sequences = sorted({*days, *panel_days(settings)}) if settings.features.panel_sequences else days
    update_item_vocabulary(lake, of_sequences)
    update_interactions(lake, days)
    update_item_sequences(lake, of_sequences)


if __name__ == "__main__":
    raise SystemExit(main(run))
