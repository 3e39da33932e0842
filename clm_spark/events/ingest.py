"""Take raw files in, each once, and prove that no record was lost on the way."""

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.errors import ContractError, SourceError
from clm_spark.events.duplicates import new_events
from clm_spark.events.parse import typed_events
from clm_spark.keys import pseudonym_key
from clm_spark.session import spread_over_cores
from clm_spark.sources.source import RawFile, Source, records_of, with_line_numbers
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, INGESTED_FILES, RAW_EVENTS, REJECTED_EVENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)
LOOKED_AT_FIRST = 1000
DAMAGED = re.compile(r"FAILED_READ_FILE\S*\s+Encountered error while reading file (\S+?)\.?\s")
PARSED = (*EVENTS.schema.names, "file", "position", "arrived_at", "record", "reason")
COUNTS = ("num_read", "num_kept", "num_rejected", "num_duplicates")


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
    raw = records_of(source.read(lake.spark, [file.url for file in files])).limit(LOOKED_AT_FIRST)
    with _damage_named():
        reasons = _typed(raw, source, settings).groupBy("reason").count().collect()  # bounded by the list of reasons
    if reasons and all(row["reason"] for row in reasons):
        listed = ", ".join(f"{row['reason']} {row['count']}" for row in reasons)
        raise SourceError(
            f"none of the first {sum(row['count'] for row in reasons)} records at {settings.ingest.path!r} can be used as "
            f"{source.name} ({listed}): check ingest.source and, for source mapping, the mapping; nothing was written"
        )


def claim_batches(lake: Lake, source: Source, files: Sequence[RawFile]) -> list[Batch]:
    """Batches still to be taken in: those an earlier run of this source left unfinished, then those of these files."""
    lake.create(INGESTED_FILES)
    lake.create(INGESTED_BATCHES)
    for together in _cut(files, lake.settings.ingest.batch_bytes):
        names = sorted((file.url, file.size_bytes, file.modified_at.timestamp()) for file in together)
        batch_id = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
        uncounted = {name: F.lit(None).cast("bigint") for name in COUNTS}
        claimed = _as_rows(lake, together, source).withColumns({"batch_id": F.lit(batch_id), **uncounted})
        lake.replace(claimed, into=INGESTED_FILES, batch_id=batch_id)
    finished = lake.read(INGESTED_BATCHES)
    claims = lake.read(INGESTED_FILES).where(F.col("source") == source.name)
    unfinished = claims.join(finished, on="batch_id", how="left_anti")
    grouped = (
        unfinished.groupBy("batch_id").agg(F.sort_array(F.collect_list("file")).alias("files")).orderBy("batch_id")
    )
    return [Batch(row["batch_id"], tuple(row["files"])) for row in grouped.collect()]


def ingest_batch(lake: Lake, source: Source, batch: Batch, settings: Settings) -> None:
    """Raw records, rejected records, events and the proof, each in one commit; after a crash run again with no harm."""
    try:
        with _damage_named():
            lake.append_once(_raw_records(lake, source, batch), into=RAW_EVENTS, batch=batch.batch_id)
    except SourceError:
        # Nothing of the batch is in: its files are new again, the mended one among them.
        lake.replace(lake.read(INGESTED_FILES).limit(0), into=INGESTED_FILES, batch_id=batch.batch_id)
        raise
    arrived = lake.read(RAW_EVENTS).where(F.col("batch_id") == batch.batch_id)
    with parsed(arrived, source, settings, batch_id=batch.batch_id) as typed:
        _check_share_rejected(typed, batch, settings)
        num_kept, duplicates = write_new_events(lake, typed, batch_id=batch.batch_id)
        num_rejected = _write_rejected(lake, typed, batch)
        files = _counted_files(lake, arrived, typed, duplicates, batch)
        lake.replace(files, into=INGESTED_FILES, batch_id=batch.batch_id)
    # Each from another place, or the rule that they add up would hold by itself.
    counts = (arrived.count(), num_kept, num_rejected, sum(duplicates.values()))
    sign_off(lake, source, batch.batch_id, num_files=len(batch.files), counts=counts)


@contextmanager
def parsed(raw: DataFrame, source: Source, settings: Settings, *, batch_id: str) -> Iterator[DataFrame]:
    """Raw records, typed by the source, as `PARSED`; inside the block they are read as often as need be."""
    typed = _typed(raw, source, settings).withColumn("batch_id", F.lit(batch_id)).select(*PARSED)
    # Parsed once, kept on disk because it is as large as the batch: what follows reads a few columns each.
    typed.persist(StorageLevel.DISK_ONLY)
    try:
        yield typed
    finally:
        typed.unpersist()


def write_new_events(lake: Lake, typed: DataFrame, *, batch_id: str) -> tuple[int, dict[str, int]]:
    """Write the usable records of a batch that no other brought; gives their number, and the duplicates of each file."""
    lake.create(EVENTS)
    earlier = lake.read(EVENTS).where(F.col("batch_id") != batch_id)
    with new_events(typed, earlier) as new:
        # Its key is proven: every event_id has just been counted.
        kept = lake.replace(new.rows, into=EVENTS, is_key_proven=True, batch_id=batch_id)
        duplicates = {row["file"]: row["num_duplicates"] for row in new.duplicates.collect()}
    if kept.num_rows != new.num_new:
        raise ContractError(
            f"batch {batch_id}: {new.num_new} new events were counted and {kept.num_rows} written; "
            "it is not signed off: run it again, and report this if it comes back"
        )
    return kept.num_rows, duplicates


def sign_off(lake: Lake, source: Source, batch_id: str, *, num_files: int, counts: tuple[int, int, int, int]) -> None:
    """Write the proof; `counts` are records read, kept, rejected and repeated.

    Delta holds the rule read = kept + rejected + duplicates: a batch that lost a record has no proof.
    """
    figures = {"num_files": num_files, **dict(zip(COUNTS, counts, strict=True))}
    events = lake.read(EVENTS).where(F.col("batch_id") == batch_id)
    proof = events.agg(
        F.min("occurred_at").alias("first_occurred_at"), F.max("occurred_at").alias("last_occurred_at")
    ).select(
        F.lit(batch_id).alias("batch_id"),
        F.lit(source.name).alias("source"),
        *(F.lit(n).cast("bigint").alias(name) for name, n in figures.items()),
        "first_occurred_at",
        "last_occurred_at",
    )
    lake.replace(proof, into=INGESTED_BATCHES, batch_id=batch_id)
    log.info("batch %s: %s", batch_id, ", ".join(f"{name[4:]} {n:,}" for name, n in figures.items()))


def _write_rejected(lake: Lake, typed: DataFrame, batch: Batch) -> int:
    lake.create(REJECTED_EVENTS)
    before = lake.read(REJECTED_EVENTS).where(F.col("batch_id") == batch.batch_id)
    rejected = typed.where(F.col("reason").isNotNull()).withColumn("replayed_in", F.lit(None).cast("string"))
    if rejected.isEmpty() and before.isEmpty():  # a commit for nothing costs more than the look
        return 0
    rows = rejected.select(REJECTED_EVENTS.schema.names)
    return lake.replace(rows, into=REJECTED_EVENTS, is_key_proven=True, batch_id=batch.batch_id).num_rows


def _check_share_rejected(typed: DataFrame, batch: Batch, settings: Settings) -> None:
    """Refuse a batch of which too much cannot be used, while silver is as it was."""
    found = {row["reason"]: row["count"] for row in typed.groupBy("reason").count().collect()}  # a closed list
    num_rejected = sum(n for reason, n in found.items() if reason)
    limit = settings.ingest.max_rejected_share
    if num_rejected > limit * sum(found.values()):
        listed = ", ".join(f"{reason} {n:,}" for reason, n in sorted(found.items(), key=str) if reason)
        raise SourceError(
            f"{num_rejected:,} of {sum(found.values()):,} records of batch {batch.batch_id} ({batch.files[0]} and on) cannot "
            f"be used ({listed}): expected at most {limit:.0%}; silver is as it was: mend the mapping and run again, "
            "or raise ingest.max_rejected_share"
        )


def _counted_files(
    lake: Lake, arrived: DataFrame, typed: DataFrame, duplicates: Mapping[str, int], batch: Batch
) -> DataFrame:
    """The batch's files with what became of the records of each; a row per file passes the driver."""
    read = {row["file"]: row["count"] for row in arrived.groupBy("file").count().collect()}
    is_usable = F.col("reason").isNull()
    by_file = typed.groupBy("file").agg(F.count_if(is_usable).alias("usable"), F.count_if(~is_usable).alias("rejected"))
    judged = {row["file"]: (row["usable"], row["rejected"]) for row in by_file.collect()}
    rows = []
    for claim in lake.read(INGESTED_FILES).where(F.col("batch_id") == batch.batch_id).collect():
        num_usable, num_rejected = judged.get(claim["file"], (0, 0))
        num_again = duplicates.get(claim["file"], 0)
        counts = (read.get(claim["file"], 0), num_usable - num_again, num_rejected, num_again)
        rows.append(tuple({**claim.asDict(), **dict(zip(COUNTS, counts, strict=True))}.values()))
    return lake.spark.createDataFrame(rows, INGESTED_FILES.schema)


@contextmanager
def _damage_named() -> Iterator[None]:
    """One line for a file that breaks off, instead of the stack of the task that read it."""
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        damaged = DAMAGED.search(str(error))
        if damaged is None:
            raise
        raise SourceError(
            f"{damaged[1]} cannot be read to its end: expected a whole file; restore it, or take it away, and run "
            "again; nothing of the files that arrived with it was taken in"
        ) from error


def _raw_records(lake: Lake, source: Source, batch: Batch) -> DataFrame:
    raw = records_of(with_line_numbers(source.read(lake.spark, batch.files)))
    return _spread(raw).withColumns({"batch_id": F.lit(batch.batch_id), "source": F.lit(source.name)})


def _spread(raw: DataFrame) -> DataFrame:
    """Over all cores, where the files would not be: one packed file, or one Parquet row group, is one task."""
    cores = raw.sparkSession.sparkContext.defaultParallelism
    return spread_over_cores(raw) if raw.rdd.getNumPartitions() < cores else raw


def _cut(files: Sequence[RawFile], batch_bytes: int) -> Iterator[list[RawFile]]:
    """The files in their order, as many at a time as stay below the size; a larger one stands alone."""
    together: list[RawFile] = []
    for file in files:
        if together and sum(other.size_bytes for other in together) + file.size_bytes > batch_bytes:
            yield together
            together = []
        together.append(file)
    if together:
        yield together


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
        key=pseudonym_key(settings),
    )
