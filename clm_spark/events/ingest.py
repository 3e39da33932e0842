"""Take raw files in, each once, and prove that no record was lost on the way."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.errors import ContractError, SourceError
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


def new_files(lake: Lake, files: Sequence[RawFile], source: Source) -> list[RawFile]:
    """Those of the files that were not taken in before: by name, size and time. The driver sees names, never records.

    Raises `ContractError` when the lakehouse holds another source's events and the settings do not allow two.
    """
    if not lake.exists(INGESTED_FILES):
        return list(files)
    seen = lake.read(INGESTED_FILES)
    others = seen.where(F.col("source") != source.name).select("source").limit(1).collect()
    if others and not lake.settings.ingest.joins_other_sources:
        raise ContractError(
            f"lakehouse {lake.settings.lakehouse.path} holds events of source {others[0]['source']}, and {source.name} "
            "came: give another shop its own lakehouse.path and shop, or, if both logs are this shop's, "
            "set ingest.joins_other_sources=true"
        )
    here = _as_rows(lake, files, source)
    new = here.join(seen, on=["file", "size_bytes", "modified_at"], how="left_anti").select("file").collect()
    names = {row["file"] for row in new}
    return [file for file in files if file.url in names]


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
    """Batches still to be taken in: those an earlier run of this source left unfinished, then one of these files."""
    lake.create(INGESTED_FILES)
    lake.create(INGESTED_BATCHES)
    if files:
        names = sorted((file.url, file.size_bytes, file.modified_at.timestamp()) for file in files)
        batch_id = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
        claimed = _as_rows(lake, files, source).withColumn("batch_id", F.lit(batch_id))
        lake.append_once(claimed, into=INGESTED_FILES, batch=batch_id)
    finished = lake.read(INGESTED_BATCHES)
    claims = lake.read(INGESTED_FILES).where(F.col("source") == source.name)
    unfinished = claims.join(finished, on="batch_id", how="left_anti")
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
    num_usable, num_new = _tally(typed, earlier)
    has_duplicates = num_usable > num_new
    events = keep_new_events(typed, earlier, batch_id=batch.batch_id, has_duplicates=has_duplicates)
    # Its key is proven: the tally has just counted every event_id.
    kept = lake.replace(events, into=EVENTS, is_key_proven=True, batch_id=batch.batch_id)
    rejected = typed.where(F.col("reason").isNotNull()).withColumn("batch_id", F.lit(batch.batch_id))
    num_read = arrived.count()
    if num_read == num_usable:
        rejected = rejected.limit(0)  # spares parsing the batch again to find nothing
    set_aside = lake.replace(
        rejected.select(REJECTED_EVENTS.schema.names), into=REJECTED_EVENTS, batch_id=batch.batch_id
    )
    if kept.num_rows != num_new:
        raise ContractError(
            f"batch {batch.batch_id}: {num_new} new events were counted and {kept.num_rows} written; "
            "it is not signed off: run ingest_events again, and report this if it comes back"
        )
    counts = {
        "num_files": len(batch.files),
        "num_read": num_read,
        "num_kept": kept.num_rows,
        "num_rejected": set_aside.num_rows,
        "num_duplicates": num_usable - num_new,
    }
    # Delta holds the rule read = kept + rejected + duplicates: a batch that lost a record cannot be signed off.
    lake.replace(_ledger(lake, source, batch, counts), into=INGESTED_BATCHES, batch_id=batch.batch_id)
    log.info("batch %s: %s", batch.batch_id, ", ".join(f"{name[4:]} {n:,}" for name, n in counts.items()))


def _tally(typed: DataFrame, earlier: DataFrame) -> tuple[int, int]:
    """How many records can be used, and how many events among them are new. Only ids are shuffled."""
    per_event = typed.where(F.col("reason").isNull()).groupBy("event_id").agg(F.count("*").alias("n"))
    known = earlier.select("event_id", F.lit(True).alias("is_known"))
    counted = (
        per_event.join(known, on="event_id", how="left")
        .agg(F.coalesce(F.sum("n"), F.lit(0)).alias("usable"), F.count_if(F.col("is_known").isNull()).alias("new"))
        .head()
    )
    assert counted is not None
    return counted["usable"], counted["new"]


def _as_rows(lake: Lake, files: Sequence[RawFile], source: Source) -> DataFrame:
    return lake.spark.createDataFrame(
        [(source.name, file.url, file.size_bytes, file.modified_at) for file in files],
        "source string, file string, size_bytes bigint, modified_at timestamp",
    )


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
