"""Take raw files in, each once, and prove that no record was lost on the way."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.errors import SourceError
from clm_spark.events.parse import keep_new_events, typed_events
from clm_spark.privacy.pseudonyms import read_key
from clm_spark.sources.source import RawFile, Source
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, INGESTED_FILES, RAW_EVENTS, REJECTED_EVENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)
LOOKED_AT_FIRST = 1000


@dataclass(frozen=True)
class Batch:
    """Files that are taken in together."""

    batch_id: str
    files: tuple[str, ...]


def check_usable(lake: Lake, source: Source, files: Sequence[RawFile], settings: Settings) -> None:
    """Refuse files of which no record can be used, before anything is written."""
    raw = source.read(lake.spark, [file.url for file in files]).limit(LOOKED_AT_FIRST)
    reasons = _typed(raw, source, settings).groupBy("reason").count().collect()  # bounded by the list of reasons
    if reasons and all(row["reason"] for row in reasons):
        listed = ", ".join(f"{row['reason']} {row['count']}" for row in reasons)
        raise SourceError(
            f"none of the first {sum(row['count'] for row in reasons)} records at {settings.ingest.path!r} can be used as "
            f"{source.name} ({listed}): check ingest.source and, for source mapping, the mapping; nothing was written"
        )


def claim_batches(lake: Lake, source: Source, files: Sequence[RawFile]) -> list[Batch]:
    """Batches still to be taken in: those an earlier run left unfinished, then one of the files not seen before.

    Raises nothing when there is none: an empty list. The driver sees file names, never records.
    """
    lake.create(INGESTED_FILES)
    lake.create(INGESTED_BATCHES)
    seen = lake.read(INGESTED_FILES)
    here = lake.spark.createDataFrame(
        [(source.name, file.url, file.size_bytes, file.modified_at) for file in files],
        "source string, file string, size_bytes bigint, modified_at timestamp",
    )
    new = here.join(seen, on=["file", "size_bytes", "modified_at"], how="left_anti").orderBy("file")
    names = new.select("file", "size_bytes", F.unix_millis("modified_at")).collect()
    if names:
        batch_id = hashlib.sha256(repr([tuple(name) for name in names]).encode()).hexdigest()[:16]
        claimed = new.withColumn("batch_id", F.lit(batch_id))
        lake.append_once(claimed, into=INGESTED_FILES, batch=batch_id)
    finished = lake.read(INGESTED_BATCHES)
    unfinished = lake.read(INGESTED_FILES).join(finished, on="batch_id", how="left_anti")
    grouped = (
        unfinished.groupBy("batch_id").agg(F.sort_array(F.collect_list("file")).alias("files")).orderBy("batch_id")
    )
    return [Batch(row["batch_id"], tuple(row["files"])) for row in grouped.collect()]


def ingest_batch(lake: Lake, source: Source, batch: Batch, settings: Settings) -> None:
    """Raw records, rejected records, events and the proof, each in one commit; after a crash run again with no harm."""
    raw = source.read(lake.spark, batch.files).select(
        F.lit(batch.batch_id).alias("batch_id"), F.lit(source.name).alias("source"), "*"
    )
    lake.append_once(raw, into=RAW_EVENTS, batch=batch.batch_id)
    arrived = lake.read(RAW_EVENTS).where(F.col("batch_id") == batch.batch_id)
    typed = _typed(arrived, source, settings)
    lake.create(EVENTS)
    earlier = lake.read(EVENTS).where(F.col("batch_id") != batch.batch_id)
    seen = Observation()
    counted = typed.observe(seen, F.count("*").alias("read"), F.count_if(F.col("reason").isNull()).alias("usable"))
    kept = lake.replace(
        keep_new_events(counted, earlier, batch_id=batch.batch_id),
        into=EVENTS,
        is_key_proven=True,  # keep_new_events has just made event_id unique
        batch_id=batch.batch_id,
    )
    rejected = typed.where(F.col("reason").isNotNull()).withColumn("batch_id", F.lit(batch.batch_id))
    if seen.get["read"] == seen.get["usable"]:
        rejected = rejected.limit(0)  # spares parsing the batch again to find nothing
    set_aside = lake.replace(rejected.select(REJECTED_EVENTS.schema.names), into=REJECTED_EVENTS, batch_id=batch.batch_id)
    counts = {
        "num_files": len(batch.files),
        "num_read": arrived.count(),
        "num_kept": kept.num_rows,
        "num_rejected": set_aside.num_rows,
        "num_duplicates": seen.get["usable"] - kept.num_rows,
    }
    # Delta holds the rule read = kept + rejected + duplicates: a batch that lost a record cannot be signed off.
    lake.replace(_ledger(lake, source, batch, counts), into=INGESTED_BATCHES, batch_id=batch.batch_id)
    log.info("batch %s: %s", batch.batch_id, ", ".join(f"{name[4:]} {n:,}" for name, n in counts.items()))


def _typed(raw: DataFrame, source: Source, settings: Settings) -> DataFrame:
    return typed_events(
        source.fields(raw),
        source=source.name,
        time_format=source.time_format,
        known_at=settings.ingest.known_at,
        key=read_key(settings.privacy.key_file),
    )


def _ledger(lake: Lake, source: Source, batch: Batch, counts: dict[str, int]) -> DataFrame:
    events = lake.read(EVENTS).where(F.col("batch_id") == batch.batch_id)
    return events.agg(
        F.min("occurred_at").alias("first_occurred_at"), F.max("occurred_at").alias("last_occurred_at")
    ).select(
        F.lit(batch.batch_id).alias("batch_id"),
        F.lit(source.name).alias("source"),
        *(F.lit(n).cast("bigint").alias(name) for name, n in counts.items()),
        "first_occurred_at",
        "last_occurred_at",
    )

