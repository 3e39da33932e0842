"""Replay: ingest rejected records again, after the mapping was corrected."""

import logging

from pyspark.sql import functions as F

from clm_spark.events.clocks import midnight
from clm_spark.events.ingest.batches import complete_batch, parsed, write_new_events
from clm_spark.events.ingest.validation import PLACE, summarized
from clm_spark.settings import Settings
from clm_spark.sources.source import Source
from clm_spark.tables.catalog import REJECTED_EVENTS
from clm_spark.tables.lake import Lake

REPLAY = "replay-"  # how the names of its batches begin

log = logging.getLogger(__name__)


def replay_rejected(lake: Lake, source: Source, settings: Settings) -> None:
    """Ingest the rejected records of a source that it can use by now; they are known from `as_of` on.

    They are one batch per source and day: a second run, or one after a crash, leaves the same rows. Records that still
    cannot be used stay rejected, with today's reason.
    """
    batch_id = f"{REPLAY}{source.name}-{settings.as_of}"
    rejected = lake.read(REJECTED_EVENTS).where(F.col("source") == source.name)
    pending = rejected.where(F.col("replayed_in").isNull() | (F.col("replayed_in") == batch_id))
    num_files = pending.select("file").distinct().count()
    if not num_files:
        log.info("nothing rejected of %s", source.name)
        return
    with parsed(pending, source, settings, batch_id=batch_id) as (typed, results):
        summary = summarized(results)
        # Days already computed without these events must not change when they are computed again.
        known_at = F.greatest(F.col("known_at"), F.lit(midnight(settings.as_of, lake.time_zone)))
        late = typed.withColumn("known_at", known_at)
        num_kept, duplicates = write_new_events(lake, source, late, results, summary.span, batch_id=batch_id)
        counts = (pending.count(), num_kept, summary.num_rejected, sum(duplicates.values()))
        # Before the records are marked as replayed: a second run after a crash still finds them.
        complete_batch(lake, source, batch_id, num_files=num_files, counts=counts)
        reasons = results.select(*PLACE, F.col("reason").alias("_reason"))
        marked = pending.join(reasons, on=list(PLACE), how="inner").withColumns(
            {
                "reason": F.coalesce("_reason", "reason"),
                "replayed_in": F.when(F.col("_reason").isNull(), batch_id),
            }
        )
        lake.merge(marked.select(REJECTED_EVENTS.schema.names), into=REJECTED_EVENTS)
