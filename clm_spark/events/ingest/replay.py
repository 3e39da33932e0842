"""Rejected records once more, after the mapping was mended."""

import logging

from pyspark.sql import functions as F

from clm_spark.events.ingest.batches import parsed, sign_off, write_new_events
from clm_spark.events.ingest.validation import PLACE, judged_records
from clm_spark.settings import Settings
from clm_spark.sources.source import Source
from clm_spark.tables.catalog import REJECTED_EVENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def replay_rejected(lake: Lake, source: Source, settings: Settings) -> None:
    """Take in the rejected records of a source that it can use by now; they are known from `as_of` on.

    They are a batch of their own, one per source and day: run twice, or after a crash, it leaves the same rows. What
    still cannot be used stays, with the reason of today.
    """
    batch_id = f"replay-{source.name}-{settings.as_of}"
    rejected = lake.read(REJECTED_EVENTS).where(F.col("source") == source.name)
    pending = rejected.where(F.col("replayed_in").isNull() | (F.col("replayed_in") == batch_id))
    num_files = pending.select("file").distinct().count()
    if not num_files:
        log.info("nothing rejected of %s", source.name)
        return
    with parsed(pending, source, settings, batch_id=batch_id) as (typed, verdicts):
        judged = judged_records(verdicts)
        # A day that was computed without them must come out the same again.
        learned = F.greatest(F.col("known_at"), F.lit(settings.as_of).cast("timestamp"))
        late = typed.withColumn("known_at", learned)
        num_kept, duplicates = write_new_events(lake, late, verdicts, judged.span, batch_id=batch_id)
        counts = (pending.count(), num_kept, judged.num_rejected, sum(duplicates.values()))
        # Before the records are marked: until then a second run sees the same ones.
        sign_off(lake, source, batch_id, num_files=num_files, counts=counts)
        reasons = verdicts.select(*PLACE, F.col("reason").alias("_reason"))
        marked = pending.join(reasons, on=list(PLACE), how="inner").withColumns(
            {
                "reason": F.coalesce("_reason", "reason"),
                "replayed_in": F.when(F.col("_reason").isNull(), batch_id),
            }
        )
        lake.merge(marked.select(REJECTED_EVENTS.schema.names), into=REJECTED_EVENTS)
