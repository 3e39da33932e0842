"""Ingest raw files, each once, and prove that no record was lost."""

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import ContractError, SourceError
from clm_spark.events.clocks import available_at
from clm_spark.events.ingest.duplicates import new_events
from clm_spark.events.ingest.parse import typed_events
from clm_spark.events.ingest.validation import IS_REJECTED, Span, ValidationSummary, summarized, validation_results
from clm_spark.keys import pseudonym_key
from clm_spark.session import spread_over_cores
from clm_spark.settings import Settings
from clm_spark.sources.source import RawFile, Source, records_of, with_line_numbers
from clm_spark.tables.catalog import COUNTS, EVENTS, INGESTED_BATCHES, INGESTED_FILES, RAW_EVENTS, REJECTED_EVENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)
SAMPLED_RECORDS = 1000
DAMAGED = re.compile(r"FAILED_READ_FILE\S*\s+Encountered error while reading file (\S+?)\.?\s")
KAFKA = "kafka://"
PARSED = (*EVENTS.schema.names, "file", "position", "arrived_at", "header", "record", "reason", "new_columns")
MOST_NEW_COLUMNS = 100


@dataclass(frozen=True)
class Batch:
    """Files that are ingested together."""

    batch_id: str
    files: tuple[str, ...]


def ingest_files(lake: Lake, source: Source, files: Sequence[RawFile], settings: Settings) -> int:
    """Ingest the new ones among the files, and what an earlier run left unfinished; returns the number of batches."""
    new = new_files(lake, files, source)
    if new:
        check_usable(lake, source, new, settings)
    batches = claim_batches(lake, source, new)
    for batch in batches:
        ingest_batch(lake, source, batch, settings)
    return len(batches)


def new_files(lake: Lake, files: Sequence[RawFile], source: Source) -> list[RawFile]:
    """The files that were not ingested before, by name, size and time. The driver sees names, never records."""
    check_source(lake, source)
    if not lake.exists(INGESTED_FILES):
        return list(files)
    here = _as_rows(lake, files, source)
    new = (
        here.join(lake.read(INGESTED_FILES), on=["file", "size_bytes", "modified_at"], how="left_anti")
        .select("file")
        .collect()
    )
    names = {row["file"] for row in new}
    return [file for file in files if file.url in names]


def check_source(lake: Lake, source: Source) -> None:
    """Refuse a second source in one lakehouse, unless the settings allow it."""
    if lake.settings.ingest.joins_other_sources or not lake.exists(INGESTED_FILES):
        return
    others = lake.read(INGESTED_FILES).where(F.col("source") != source.name).select("source").limit(1).collect()
    if others:
        raise ContractError(
            f"lakehouse {lake.settings.lakehouse.path} holds events of source {others[0]['source']}, and {source.name} "
            "came: give another shop its own lakehouse.path and shop, or, if both logs are this shop's, "
            "set ingest.joins_other_sources=true"
        )


def check_usable(lake: Lake, source: Source, files: Sequence[RawFile], settings: Settings) -> None:
    """Refuse files of which no record can be used, before anything is written."""
    raw = records_of(source.read(lake.spark, [file.url for file in files])).limit(SAMPLED_RECORDS)
    with _damage_named():
        reasons = _typed(raw, source, settings).groupBy("reason").count().collect()  # bounded by the list of reasons
    if reasons and all(row["reason"] for row in reasons):
        listed = ", ".join(f"{row['reason']} {row['count']}" for row in reasons)
        raise SourceError(
            f"none of the first {sum(row['count'] for row in reasons)} records at {settings.ingest.path!r} can be used as "
            f"{source.name} ({listed}): check ingest.source and, for source mapping, the mapping; nothing was written"
        )


def claim_batches(lake: Lake, source: Source, files: Sequence[RawFile]) -> list[Batch]:
    """Batches to ingest: those that an earlier run of this source left unfinished, and those of these files."""
    lake.create(INGESTED_FILES)
    lake.create(INGESTED_BATCHES)
    for together in _cut(files, lake.settings.ingest.batch_bytes):
        names = sorted((file.url, file.size_bytes, file.modified_at.timestamp()) for file in together)
        batch_id = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
        uncounted = {name: F.lit(None).cast("bigint") for name in COUNTS}
        claimed = _as_rows(lake, together, source).withColumns({"batch_id": F.lit(batch_id), **uncounted})
        lake.replace(claimed, into=INGESTED_FILES, batch_id=batch_id)
    finished = lake.read(INGESTED_BATCHES)
    # A stream repeats its own unfinished batches.
    is_mine = (F.col("source") == source.name) & ~F.col("file").startswith(KAFKA)
    claims = lake.read(INGESTED_FILES).where(is_mine)
    unfinished = claims.join(finished, on="batch_id", how="left_anti")
    grouped = (
        unfinished.groupBy("batch_id").agg(F.sort_array(F.collect_list("file")).alias("files")).orderBy("batch_id")
    )
    return [Batch(row["batch_id"], tuple(row["files"])) for row in grouped.collect()]


def ingest_batch(lake: Lake, source: Source, batch: Batch, settings: Settings) -> None:
    """Write raw records, events, rejected records and the proof, each in one commit; a crashed run may be repeated."""
    try:
        with _damage_named():
            lake.append_once(_raw_records(lake, source, batch), into=RAW_EVENTS, batch=batch.batch_id)
    except SourceError:
        # Nothing of the batch is written: release its files, so that a repaired one counts as new.
        lake.replace(lake.read(INGESTED_FILES).limit(0), into=INGESTED_FILES, batch_id=batch.batch_id)
        raise
    finish_batch(lake, source, batch, settings)


def finish_batch(lake: Lake, source: Source, batch: Batch, settings: Settings) -> None:
    """Write events, rejected records and the proof of a batch whose raw records and claims are stored."""
    arrived = lake.read(RAW_EVENTS).where(F.col("batch_id") == batch.batch_id)
    read = {row["file"]: row["count"] for row in arrived.groupBy("file").count().collect()}
    with parsed(arrived, source, settings, batch_id=batch.batch_id) as (typed, results):
        summary = summarized(results)
        _check_share_rejected(summary, batch, settings)
        num_kept, duplicates = write_new_events(lake, typed, results, summary.span, batch_id=batch.batch_id)
        num_rejected = _write_rejected(lake, typed, summary, batch)
        new_columns = _new_columns(results) if summary.num_with_new_columns else []
    lake.replace(_counted_files(lake, read, summary, duplicates, batch), into=INGESTED_FILES, batch_id=batch.batch_id)
    # Each count comes from another source, or the rule that they add up would prove nothing.
    counts = (sum(read.values()), num_kept, num_rejected, sum(duplicates.values()))
    complete_batch(lake, source, batch.batch_id, num_files=len(batch.files), counts=counts, new_columns=new_columns)
    if new_columns:
        listed = ", ".join(new_columns)
        log.warning("batch %s: columns new to %s, kept in attributes: %s", batch.batch_id, source.name, listed)


@contextmanager
def parsed(
    raw: DataFrame, source: Source, settings: Settings, *, batch_id: str
) -> Iterator[tuple[DataFrame, DataFrame]]:
    """Raw records as `PARSED`, and their validation results; both are cached inside the block."""
    typed = _typed(raw, source, settings).withColumn("batch_id", F.lit(batch_id)).select(*PARSED)
    results = validation_results(typed)
    # On disk, as the parsed records are as large as the batch. Cached before any filter: Spark would push a filter on a
    # parsed column below the parsing, and parse each record again for every column in it.
    typed.persist(StorageLevel.DISK_ONLY)
    results.persist(StorageLevel.DISK_ONLY)
    try:
        yield typed, results
    finally:
        results.unpersist()
        typed.unpersist()


def write_new_events(
    lake: Lake, typed: DataFrame, results: DataFrame, span: Span, *, batch_id: str
) -> tuple[int, dict[str, int]]:
    """Write the events of a batch that no other batch has; returns their number, and the duplicates of each file."""
    lake.create(EVENTS)
    earlier = lake.read(EVENTS).where(F.col("batch_id") != batch_id)
    with new_events(typed, results, earlier, span=span) as new:
        # The key is proven: every event_id has just been counted.
        kept = lake.replace(new.rows, into=EVENTS, is_key_proven=True, batch_id=batch_id)
    if kept.num_rows != new.num_new:
        raise ContractError(
            f"batch {batch_id}: {new.num_new} new events were counted and {kept.num_rows} written; "
            "it is not complete: run it again, and report this if it comes back"
        )
    return kept.num_rows, new.duplicates


def complete_batch(
    lake: Lake,
    source: Source,
    batch_id: str,
    *,
    num_files: int,
    counts: tuple[int, int, int, int],
    new_columns: Sequence[str] = (),
) -> None:
    """Write the proof that the batch is complete; `counts` are records read, kept, rejected and duplicate.

    Delta checks read = kept + rejected + duplicates: a batch that lost a record cannot be completed.
    """
    figures = {"num_files": num_files, **dict(zip(COUNTS, counts, strict=True))}
    events = lake.read(EVENTS).where(F.col("batch_id") == batch_id)
    proof = events.agg(
        F.min("occurred_at").alias("first_occurred_at"),
        F.max("occurred_at").alias("last_occurred_at"),
        F.min(available_at()).alias("first_known_at"),
        F.max(available_at()).alias("last_known_at"),
    ).select(
        F.lit(batch_id).alias("batch_id"),
        F.lit(source.name).alias("source"),
        *(F.lit(n).cast("bigint").alias(name) for name, n in figures.items()),
        F.array(*map(F.lit, new_columns)).cast("array<string>").alias("new_columns"),
        "first_occurred_at",
        "last_occurred_at",
        "first_known_at",
        "last_known_at",
        F.lit(lake.version(EVENTS)).cast("bigint").alias("events_version"),
        F.lit(lake.job).alias("job"),
        F.lit(lake.settings.as_of).alias("as_of"),
    )
    lake.replace(proof, into=INGESTED_BATCHES, batch_id=batch_id)
    log.info("batch %s: %s", batch_id, ", ".join(f"{name[4:]} {n:,}" for name, n in figures.items()))


def _write_rejected(lake: Lake, typed: DataFrame, summary: ValidationSummary, batch: Batch) -> int:
    lake.create(REJECTED_EVENTS)
    before = lake.read(REJECTED_EVENTS).where(F.col("batch_id") == batch.batch_id)
    if not summary.num_rejected and before.isEmpty():  # an empty commit costs more than this check
        return 0
    rejected = typed.where(IS_REJECTED).withColumn("replayed_in", F.lit(None).cast("string"))
    rows = rejected.select(REJECTED_EVENTS.schema.names)
    return lake.replace(rows, into=REJECTED_EVENTS, is_key_proven=True, batch_id=batch.batch_id).num_rows


def _check_share_rejected(summary: ValidationSummary, batch: Batch, settings: Settings) -> None:
    """Refuse a batch with too many unusable records, before silver changes."""
    limit = settings.ingest.max_rejected_share
    if summary.num_rejected > max(limit * summary.num_validated, settings.ingest.tolerated_rejects):
        listed = ", ".join(f"{reason} {num:,}" for reason, num in sorted(summary.reasons.items()))
        raise SourceError(
            f"{summary.num_rejected:,} of {summary.num_validated:,} records of batch {batch.batch_id} ({batch.files[0]} and on) "
            f"cannot be used ({listed}): expected at most {limit:.0%}; silver is unchanged: correct the mapping and run "
            "again, or raise ingest.max_rejected_share or ingest.tolerated_rejects"
        )


def _counted_files(
    lake: Lake, read: Mapping[str, int], summary: ValidationSummary, duplicates: Mapping[str, int], batch: Batch
) -> DataFrame:
    """The files of the batch with their counts; the driver sees a row per file."""
    rows = []
    for claim in lake.read(INGESTED_FILES).where(F.col("batch_id") == batch.batch_id).collect():
        file, num_again = claim["file"], duplicates.get(claim["file"], 0)
        counts = (read.get(file, 0), summary.usable[file] - num_again, summary.rejected[file], num_again)
        rows.append(tuple({**claim.asDict(), **dict(zip(COUNTS, counts, strict=True))}.values()))
    return lake.spark.createDataFrame(rows, INGESTED_FILES.schema)


def _new_columns(results: DataFrame) -> list[str]:
    """Columns of the records that the source does not know; at most `MOST_NEW_COLUMNS` of them."""
    named = results.where(F.col("new_columns").isNotNull()).select(F.explode("new_columns").alias("name")).distinct()
    return [row["name"] for row in named.orderBy("name").limit(MOST_NEW_COLUMNS).collect()]


@contextmanager
def _damage_named() -> Iterator[None]:
    """Turn the stack trace of a truncated file into one line that names it."""
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        damaged = DAMAGED.search(str(error))
        if damaged is None:
            raise
        raise SourceError(
            f"{damaged[1]} cannot be read to its end: expected a whole file; restore or remove it, and run "
            "again; nothing of the files that arrived with it was ingested"
        ) from error


def _raw_records(lake: Lake, source: Source, batch: Batch) -> DataFrame:
    raw = records_of(with_line_numbers(source.read(lake.spark, batch.files)))
    return _spread(raw).withColumns({"batch_id": F.lit(batch.batch_id), "source": F.lit(source.name)})


def _spread(raw: DataFrame) -> DataFrame:
    """Spread records over all cores: one compressed file, or one Parquet row group, is one task."""
    cores = raw.sparkSession.sparkContext.defaultParallelism
    return spread_over_cores(raw) if raw.rdd.getNumPartitions() < cores else raw


def _cut(files: Sequence[RawFile], batch_bytes: int) -> Iterator[list[RawFile]]:
    """Groups of files, in order, each below the size; a larger file is a group of its own."""
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
    wanted = settings.ingest
    return typed_events(
        source.fields(raw),
        source=source.name,
        time_format=source.time_format,
        time_zone=source.time_zone,
        known_at=wanted.known_at,
        key=pseudonym_key(settings),
        max_clock_skew=timedelta(seconds=wanted.max_clock_skew_seconds),
        max_lateness=None if wanted.max_lateness_days is None else timedelta(days=wanted.max_lateness_days),
    )
