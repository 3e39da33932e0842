"""events -> identity_links, identities, identity_cutoffs: find out which visitor ids and logins are one person."""

import logging

from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.events.identity import links_from_events, unseen_batches
from clm_spark.events.stitching import take_in_links
from clm_spark.job import main
from clm_spark.tables.catalog import EVENTS, STITCHED_BATCHES
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Look through the batches not looked through yet: persons follow from the events alone, whatever the as_of."""
    batches = unseen_batches(lake)
    names = [batch["batch_id"] for batch in batches.select("batch_id").collect()]
    links = links_from_events(lake.read(EVENTS).where(F.col("batch_id").isin(names))).persist()
    has_links = not links.isEmpty()
    if has_links:
        take_in_links(lake, links, limits=settings.identity)
    else:
        log.info("no new batch has a visitor id with a login")
    # A shop without visitor ids gets no table. With one, a run that found nothing new has its line in gold.runs as well,
    # or its day would stay stale.
    if has_links or lake.exists(STITCHED_BATCHES):
        lake.merge(batches, into=STITCHED_BATCHES)
    links.unpersist()


if __name__ == "__main__":
    raise SystemExit(main(run))
