"""customer_features, segments, customer_item_days, identities, item_vocabulary, item_facts -> category_rankings: what to show first of a category."""

from clm_spark.events.identity.persons import known_persons
from clm_spark.job import main
from clm_spark.models.category_rankings import (
    category_rankings,
    exposure_by_segment,
    purchases_by_segment,
    with_segment,
)
from clm_spark.models.made_days import check_made
from clm_spark.models.surfaces.facts import shown_items
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CATEGORY_RANKINGS, CUSTOMER_FEATURES, CUSTOMER_ITEM_DAYS, SEGMENTS
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the rankings of as_of, without items that are sold out or excluded; of a shop without segments those for all customers."""
    check_made(lake, CUSTOMER_FEATURES)
    asked, as_of, horizon_days = settings.rankings, settings.as_of, settings.recommend.test_days
    segments = lake.read_as_of(SEGMENTS) if lake.exists(SEGMENTS) else None
    customers, vocabulary = with_segment(lake.read_as_of(CUSTOMER_FEATURES), segments), shown_items(lake)
    days, persons = lake.read(CUSTOMER_ITEM_DAYS), known_persons(lake, [as_of])
    found = purchases_by_segment(days, customers, vocabulary, persons, as_of=as_of, settings=asked)
    exposure = exposure_by_segment(customers, settings=asked)
    with persisted(found) as purchases:
        rows = category_rankings(purchases, exposure, as_of=as_of, horizon_days=horizon_days, settings=asked)
        lake.replace(rows, into=CATEGORY_RANKINGS, is_key_proven=True, as_of=as_of)


if __name__ == "__main__":
    raise SystemExit(main(run))
