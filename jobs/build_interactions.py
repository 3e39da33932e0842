"""events, identities, bot_days, customer_item_days -> item_vocabulary, interactions, item_sequences: what recommenders train on."""

from clm_spark.events.bots import bot_days_to_leave_out, with_flagged_on
from clm_spark.events.guests import drop_guests
from clm_spark.events.identity.persons import known_persons
from clm_spark.features.interactions import interactions, item_sequences, item_vocabulary
from clm_spark.features.panel import recommender_days
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, EVENTS, INTERACTIONS, ITEM_SEQUENCES, ITEM_VOCABULARY
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Build the two days that recommenders need: as_of, and the one that their test starts from."""
    days, features, limits = recommender_days(settings), settings.features, settings.recommend
    strengths = features.kind_strengths
    events = with_flagged_on(lake.read_as_of(EVENTS), bot_days_to_leave_out(lake))
    persons = known_persons(lake, days)
    items = item_vocabulary(
        events,
        days=days,
        kinds=list(strengths),
        min_item_events=limits.min_item_events,
        max_items=limits.max_items,
    )
    # All three are grouped by their keys.
    lake.replace(items, into=ITEM_VOCABULARY, is_key_proven=True, as_of=days)
    vocabulary = lake.read(ITEM_VOCABULARY)
    events = drop_guests(events)
    pairs = interactions(lake.read(CUSTOMER_ITEM_DAYS), vocabulary, persons, days=days, strengths=strengths)
    lake.replace(pairs, into=INTERACTIONS, is_key_proven=True, as_of=days)
    sequences = item_sequences(
        events, vocabulary, persons, days=days, kinds=features.sequence_kinds, length=features.sequence_length
    )
    lake.replace(sequences, into=ITEM_SEQUENCES, is_key_proven=True, as_of=days)


if __name__ == "__main__":
    raise SystemExit(main(run))
