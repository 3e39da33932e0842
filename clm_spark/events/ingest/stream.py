"""Streaming ingestion: Structured Streaming finds what is new, and the batches are those of `batches`.

Exactly-once does not depend on the checkpoint: a micro-batch that is repeated finds its batch in the lakehouse.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote

from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError, SourceError, in_a_line
from clm_spark.events.ingest.batches import finish_batch, ingest_files
from clm_spark.events.ingest.checks import check_source
from clm_spark.events.ingest.claims import KAFKA, Batch
from clm_spark.events.ingest.history import as_begun
from clm_spark.session import KAFKA_PACKAGE
from clm_spark.settings import Settings
from clm_spark.signals import asked_to_stop, raise_if_stopped
from clm_spark.sources.paths import literal
from clm_spark.sources.source import RawFile, Source, check_place
from clm_spark.tables.catalog import COUNTS, INGESTED_BATCHES, INGESTED_FILES, RAW_EVENTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)
# Spark's reader of whole files, of which only the listing is used: contents are read by the source.
LISTING = "path string, modificationTime timestamp, length bigint, content binary"

# After a kill Kafka's source repeats a micro-batch, and then fails to report its progress (SPARK-57438).
FAILED_REPORT = "IterableOps.map(scala.Function1)"


def stream_files(lake: Lake, source: Source, settings: Settings) -> None:
    """Ingest files as they appear at `ingest.path`; a micro-batch has whole files, known by name, size and time."""
    check_place(lake.spark, settings.ingest.path, endings=source.file_endings)
    rows = (
        lake.spark.readStream.format("binaryFile")
        .schema(LISTING)
        .option("recursiveFileLookup", "true")
        .option("pathGlobFilter", "{" + ",".join(f"*{ending}" for ending in source.file_endings) + "}")
        .option("maxFilesPerTrigger", settings.stream.max_files)
        .load(literal(settings.ingest.path))
        .select("path", "length", F.unix_millis("modificationTime").alias("modified_ms"))
    )

    def ingest(listed: DataFrame, _: int) -> None:
        found = map(_raw_file, listed.orderBy("path").collect())  # bounded by `stream.max_files`
        ingest_files(lake, source, [file for file in found if file.size_bytes], settings)

    _run(lake, rows, ingest, settings, place=settings.ingest.path)


def stream_topic(lake: Lake, source: Source, settings: Settings) -> None:
    """Ingest the messages of a Kafka topic, a raw record each, without headers; a micro-batch is a batch.

    Their `file` is `kafka://TOPIC/PARTITION`, their `position` the offset, and `arrived_at` Kafka's timestamp.
    """
    stream = settings.stream
    if not stream.servers:
        raise SettingsError(f"no broker of topic {stream.topic!r}: expected host:port; set stream.servers")
    check_source(lake, source)
    settings = as_begun(lake, source, settings)
    try:
        raw = _messages(lake, settings)
    except PySparkException as error:
        raise SettingsError(
            f"Spark cannot read Kafka here ({in_a_line(error)}): expected its connector on the class path; under "
            f"spark-submit add {KAFKA_PACKAGE} to --packages, or put it into the image; and check stream.options"
        ) from error

    def ingest(messages: DataFrame, step: int) -> None:
        # A new checkpoint counts from 0 again, but under another query id.
        query = messages.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
        batch_id = hashlib.sha256(f"{query}/{step}".encode()).hexdigest()[:16]
        _ingest_messages(lake, source, messages, settings, batch_id=batch_id)

    _run(lake, raw, ingest, settings, place=stream.topic)


def _messages(lake: Lake, settings: Settings) -> DataFrame:
    stream = settings.stream
    rows = (
        lake.spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", stream.servers)
        .option("subscribe", stream.topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", stream.max_records)
        .options(**stream.options)
        .load()
    )
    return rows.select(
        F.concat(F.lit(f"{KAFKA}{quote(stream.topic)}/"), "partition").alias("file"),
        F.col("offset").alias("position"),
        F.col("timestamp").alias("arrived_at"),
        F.lit(None).cast("string").alias("header"),
        F.col("value").cast("string").alias("record"),
    )


def _ingest_messages(lake: Lake, source: Source, messages: DataFrame, settings: Settings, *, batch_id: str) -> None:
    lake.create(INGESTED_FILES)
    lake.create(INGESTED_BATCHES)
    if not lake.read(INGESTED_BATCHES).where(F.col("batch_id") == batch_id).isEmpty():
        return  # completed just before the stream was killed
    named = messages.withColumns({"batch_id": F.lit(batch_id), "source": F.lit(source.name)})
    # The stream's frame belongs to the stream's own session; all that follows reads tables.
    own = replace(lake, spark=messages.sparkSession)
    own.append_once(named.select(RAW_EVENTS.schema.names), into=RAW_EVENTS, batch=batch_id)
    arrived = lake.read(RAW_EVENTS).where(F.col("batch_id") == batch_id)
    claims = (
        arrived.groupBy("batch_id", "source", "file")
        .agg(
            F.sum(F.coalesce(F.octet_length("record"), F.lit(0))).cast("bigint").alias("size_bytes"),
            F.max("arrived_at").alias("modified_at"),
        )
        .withColumns({name: F.lit(None).cast("bigint") for name in COUNTS})
    )
    lake.replace(claims, into=INGESTED_FILES, batch_id=batch_id)
    files = tuple(row["file"] for row in claims.select("file").collect())  # bounded by the topic's partitions
    finish_batch(lake, source, Batch(batch_id, files), settings)


def _raw_file(row: Row) -> RawFile:
    return RawFile(row["path"], row["length"], datetime.fromtimestamp(row["modified_ms"] / 1000, tz=UTC))


def _run(
    lake: Lake, rows: DataFrame, ingest: Callable[[DataFrame, int], None], settings: Settings, *, place: str
) -> None:
    """Run the stream to its end, or until it is stopped; an error of `ingest` is raised unchanged."""
    raised: list[Exception] = []

    def step(frame: DataFrame, number: int) -> None:
        try:
            ingest(frame, number)
        except Exception as error:
            raised.append(error)
            raise

    checkpoint = settings.stream.checkpoint or f"{settings.lakehouse.path.rstrip('/')}/checkpoints/{_named(place)}"
    writer = rows.writeStream.foreachBatch(step).option("checkpointLocation", checkpoint)
    if settings.stream.until == "caught_up":
        writer = writer.trigger(availableNow=True)
    else:
        writer = writer.trigger(processingTime=f"{settings.stream.step_seconds} seconds")
    for is_last_start in (False, True):
        query = writer.start()
        try:
            query.awaitTermination()
            break
        except StreamingQueryException as error:
            if asked_to_stop:
                break
            if raised:
                raise raised[-1] from None
            if FAILED_REPORT in str(error) and not is_last_start:
                continue
            raise SourceError(
                f"the stream from {place} stopped: {in_a_line(error)}; expected {place} within reach and {checkpoint} "
                "as the stream left it; repair that and start it again: nothing is lost and nothing counts twice"
            ) from error
    if asked_to_stop:
        log.info("stopped: an unfinished step is repeated at the next start")
    if settings.stream.until == "caught_up":
        raise_if_stopped()  # before it had caught up


def _named(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:16]
