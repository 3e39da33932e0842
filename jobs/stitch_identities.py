"""ingested_batches, events -> identity_links, identities, identity_cutoffs: find which ids are one person."""

import logging

from pyspark.sql import functions as F

from clm_spark.events.identity.persons import links_from_events
from clm_spark.events.identity.stitching import add_links, forget_links
from clm_spark.events.ledger import mark_processed, unprocessed_batches
from clm_spark.job import main
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import EVENTS, IDENTITIES
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Add the links in new batches; persons follow from the events alone, whatever the as_of."""
    lake.create(IDENTITIES)  # a shop without visitor ids keeps it empty
    batches = unprocessed_batches(lake, IDENTITIES, made_with=f"days of {lake.time_zone}")
    if not batches:
        log.info("no new events to search for links")
        return
    if batches.is_all:
        forget_links(lake)
    with persisted(links_from_events(lake.read(EVENTS).where(F.col("batch_id").isin(batches.names)))) as links:
        if links.isEmpty():
            log.info("no new batch has a visitor id with a login")
        else:
            add_links(lake, links, limits=settings.identity)
    mark_processed(lake, batches)


if __name__ == "__main__":
    raise SystemExit(main(run))
