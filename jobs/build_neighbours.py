"""customer_item_days, identities, item_vocabulary, item_facts -> item_neighbours: what is bought with an item, and viewed with it."""

from clm_spark.events.identity.persons import known_persons
from clm_spark.features.neighbours import baskets_from_days, item_neighbours
from clm_spark.job import main
from clm_spark.models.surfaces.facts import shown_items
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, ITEM_NEIGHBOURS
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the neighbours of as_of, without items that are sold out or excluded."""
    asked, as_of = settings.neighbours, settings.as_of
    vocabulary, persons = shown_items(lake), known_persons(lake, [as_of])
    days = lake.read(CUSTOMER_ITEM_DAYS)
    found = baskets_from_days(
        days, vocabulary, persons, as_of=as_of, window_days=asked.window_days, max_items=asked.max_items_per_day
    )
    with persisted(found) as baskets:
        rows = item_neighbours(
            baskets, vocabulary, top_k=asked.top_k, min_customers=asked.min_customers, order=asked.order
        )
        lake.replace(rows, into=ITEM_NEIGHBOURS, is_key_proven=True, as_of=as_of)


if __name__ == "__main__":
    raise SystemExit(main(run))
