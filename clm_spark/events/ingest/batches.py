"""Ingest raw files, each once, and prove that no record was lost."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import ContractError, SourceError
from clm_spark.events.clocks import available_at
from clm_spark.events.ingest.autumn import second_hours, with_second_hours
from clm_spark.events.ingest.checks import (
    check_as_of_is_near,
    check_share_rejected,
    check_source,
    check_usable,
    damage_named,
)
from clm_spark.events.ingest.claims import Batch, claim_batches, new_files
from clm_spark.events.ingest.duplicates import MAX_SHIFT, Changed, new_events
from clm_spark.events.ingest.history import as_begun, warn_of_late_end
from clm_spark.events.ingest.parse import typed_records
from clm_spark.events.ingest.validation import IS_REJECTED, Span, ValidationSummary, summarized, validation_results
from clm_spark.settings import Settings
from clm_spark.sources.source import RawFile, Source, records_of, with_line_numbers
from clm_spark.tables.catalog import COUNTS, EVENTS, INGESTED_BATCHES, INGESTED_FILES, RAW_EVENTS, REJECTED_EVENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)
PARSED = (
    *EVENTS.schema.names,
    "file",
    "position",
    "arrived_at",
    "header",
    "record",
    "reason",
    "new_columns",
    "comes_twice",
)
MOST_NEW_COLUMNS = 100


def ingest_files(lake: Lake, source: Source, files: Sequence[RawFile], settings: Settings) -> int:
    """Ingest the new ones among the files, and what an earlier run left unfinished; returns the number of batches."""
    check_source(lake, source)
    asked_until, settings = settings.ingest.history_until, as_begun(lake, source, settings)
    new = new_files(lake, files, source)
    if new:
        check_usable(lake, source, new, settings)
    batches = claim_batches(lake, source, new)
    for batch in batches:
        ingest_batch(lake, source, batch, settings)
    if batches and asked_until is None:
        warn_of_late_end(lake, settings)
    return len(batches)


def ingest_batch(lake: Lake, source: Source, batch: Batch, settings: Settings) -> None:
    """Write raw records, events, rejected records and the proof, each in one commit; a crashed run may be repeated."""
    try:
        with damage_named():
            lake.append_once(_raw_records(lake, source, batch), into=RAW_EVENTS, batch=batch.batch_id)
    except SourceError:
        if not _is_stored(lake, batch):
            # Nothing of the batch is written: release its files, so that a repaired one counts as new.
            lake.replace(lake.read(INGESTED_FILES).limit(0), into=INGESTED_FILES, batch_id=batch.batch_id)
            raise
        log.warning("batch %s: its files are gone or have changed; the raw records of before are used", batch.batch_id)
    finish_batch(lake, source, batch, settings)


def _is_stored(lake: Lake, batch: Batch) -> bool:
    """Whether an earlier run wrote the batch's raw records."""
    if not lake.exists(RAW_EVENTS):
        return False
    return not lake.read(RAW_EVENTS).where(F.col("batch_id") == batch.batch_id).isEmpty()


def finish_batch(lake: Lake, source: Source, batch: Batch, settings: Settings) -> None:
    """Write events, rejected records and the proof of a batch whose raw records and claims are stored."""
    arrived = lake.read(RAW_EVENTS).where(F.col("batch_id") == batch.batch_id)
    read = {row["file"]: row["count"] for row in arrived.groupBy("file").count().collect()}
    with parsed(arrived, source, settings, batch_id=batch.batch_id) as (typed, results):
        summary = summarized(results)
        check_share_rejected(summary, typed, source, batch, settings)
        check_as_of_is_near(lake, summary.span, batch, settings)
        num_kept, duplicates = write_new_events(lake, source, typed, results, summary.span, batch_id=batch.batch_id)
        num_rejected = _write_rejected(lake, typed, summary, batch)
        new_columns = _new_columns(results) if summary.num_with_new_columns else []
    files = _counted_files(lake, read, summary, duplicates, batch)
    lake.replace(files, into=INGESTED_FILES, is_key_proven=True, batch_id=batch.batch_id)
    # Each count comes from another source, or the rule that they add up would prove nothing.
    counts = (sum(read.values()), num_kept, num_rejected, sum(duplicates.values()))
    complete_batch(lake, source, batch.batch_id, num_files=len(batch.files), counts=counts, new_columns=new_columns)
    if summary.num_guests:
        log.info(
            "batch %s: %s orders or lines of guests, events of no customer", batch.batch_id, f"{summary.num_guests:,}"
        )
    if new_columns:
        listed = ", ".join(new_columns)
        log.warning("batch %s: columns new to %s, kept in attributes: %s", batch.batch_id, source.name, listed)


@contextmanager
def parsed(
    raw: DataFrame, source: Source, settings: Settings, *, batch_id: str
) -> Iterator[tuple[DataFrame, DataFrame]]:
    """Raw records as `PARSED`, and their validation results; both are cached inside the block."""
    typed = typed_records(raw, source, settings).withColumn("batch_id", F.lit(batch_id)).select(*PARSED)
    results = validation_results(typed)
    # On disk, as the parsed records are as large as the batch. Cached before any filter: Spark would push a filter on a
    # parsed column below the parsing, and parse each record again for every column in it.
    typed.persist(StorageLevel.DISK_ONLY)
    results.persist(StorageLevel.DISK_ONLY)
    try:
        if results.where("comes_twice").isEmpty():
            yield typed, results
        else:
            stretches = second_hours(results, time_zone=source.time_zone).localCheckpoint()  # a few in a year
            yield with_second_hours(typed, stretches), with_second_hours(results, stretches)
    finally:
        results.unpersist()
        typed.unpersist()


def write_new_events(
    lake: Lake, source: Source, typed: DataFrame, results: DataFrame, span: Span, *, batch_id: str
) -> tuple[int, dict[str, int]]:
    """Write the events of a batch that no other batch has; returns their number, and the duplicates of each file."""
    lake.create(EVENTS)
    earlier = lake.read(EVENTS).where(F.col("batch_id") != batch_id)
    days = timedelta(days=lake.settings.ingest.max_correction_days)
    max_shift = max(MAX_SHIFT, days) if source.has_own_ids else MAX_SHIFT
    with new_events(
        typed,
        results,
        earlier,
        span=span,
        repeating=source.repeating,
        max_shift=max_shift,
        has_own_ids=source.has_own_ids,
        last_by=source.last_by,
    ) as new:
        if new.changed:
            _say_changed(new.changed, source, batch_id)
        # The key is proven: every event_id has just been counted.
        kept = lake.replace(new.rows, into=EVENTS, is_key_proven=True, batch_id=batch_id)
    if kept.num_rows != new.num_new:
        raise ContractError(
            f"batch {batch_id}: {new.num_new} new events were counted and {kept.num_rows} written; "
            "it is not complete: run it again, and report this if it comes back"
        )
    if new.num_repeated:
        log.warning(
            "batch %s: %s records repeat another of their file and count as events of their own (the mapping's "
            "`identical_records`)",
            batch_id,
            f"{new.num_repeated:,}",
        )
    if new.num_retold and not source.tells_lines_by_time:
        log.warning(
            "batch %s: %s lines of orders come again at another time of their day and count once (the mapping's "
            "`identical_records: each` counts them all)",
            batch_id,
            f"{new.num_retold:,}",
        )
    return kept.num_rows, new.duplicates


def _say_changed(changed: Changed, source: Source, batch_id: str) -> None:
    """Say that records with the same id differ; raises `SourceError` where the mapping wants them refused."""
    what = (
        f"{changed.num_events:,} events come with the same event_id and other content, as in "
        f"{changed.file.rsplit('/', 1)[-1]} line {changed.position}"
    )
    if source.refuses_changes:
        raise SourceError(
            f"batch {batch_id}: {what}: expected one content for an id (the mapping's same_id: refused); silver is "
            "unchanged: write `same_id: first` or `same_id: last by ATTRIBUTE`, or leave such records out by `filter`, and run "
            "again"
        )
    rule = f"the last by {source.last_by} counts" if source.last_by else "the first counts"
    kept = f"; {changed.num_known:,} of them are events of earlier batches, and stay as they were"
    log.warning(
        "batch %s: %s: %s (the mapping's same_id)%s",
        batch_id,
        what,
        rule,
        kept if changed.num_known else "",
    )


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
        F.lit(lake.inputs[EVENTS.title]).cast("bigint").alias("events_version"),
        F.lit(lake.job).alias("job"),
        F.lit(lake.settings.as_of).alias("as_of"),
    )
    lake.replace(proof, into=INGESTED_BATCHES, is_key_proven=True, batch_id=batch_id)
    log.info("batch %s: %s", batch_id, ", ".join(f"{name[4:]} {n:,}" for name, n in figures.items()))


def _write_rejected(lake: Lake, typed: DataFrame, summary: ValidationSummary, batch: Batch) -> int:
    lake.create(REJECTED_EVENTS)
    before = lake.read(REJECTED_EVENTS).where(F.col("batch_id") == batch.batch_id)
    if not summary.num_rejected and (lake.was_made_now(REJECTED_EVENTS) or before.isEmpty()):
        return 0  # an empty commit costs more than this check
    rejected = typed.where(IS_REJECTED).withColumn("replayed_in", F.lit(None).cast("string"))
    rows = rejected.select(REJECTED_EVENTS.schema.names)
    return lake.replace(rows, into=REJECTED_EVENTS, is_key_proven=True, batch_id=batch.batch_id).num_rows


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


def _raw_records(lake: Lake, source: Source, batch: Batch) -> DataFrame:
    raw = records_of(with_line_numbers(source.read(lake.spark, batch.files)))
    return _spread(raw).withColumns({"batch_id": F.lit(batch.batch_id), "source": F.lit(source.name)})


def _spread(raw: DataFrame) -> DataFrame:
    """Spread records over all cores: one compressed file, or one Parquet row group, is one task."""
    cores = raw.sparkSession.sparkContext.defaultParallelism
    return raw.repartition(cores) if raw.rdd.getNumPartitions() < cores else raw
