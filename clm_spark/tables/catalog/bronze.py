"""Raw records, and the counts that prove that none was lost."""

from pyspark.sql import types as T

from clm_spark.tables.catalog.columns import (
    AS_OF,
    BATCH_ID,
    BIGINT,
    FILE,
    HEADER,
    POSITION,
    SOURCE,
    STRING,
    TIME,
    count,
)
from clm_spark.tables.contract import Column, Table

REJECT_REASONS = (
    "too_large",
    "wrong_encoding",
    "unparsable",
    "filtered",
    "missing_customer",
    "missing_item",
    "unknown_kind",
    "impossible_time",
    "bad_number",
    "negative_quantity",
    "too_late",
)


# What becomes of raw records: read = kept + rejected + duplicates.
COUNTS = ("num_read", "num_kept", "num_rejected", "num_duplicates")


INGESTED_FILES = Table(
    "bronze",
    "ingested_files",
    "ingested raw file",
    key=("file", "size_bytes", "modified_at"),
    slices=("batch_id",),
    columns=(
        BATCH_ID,
        SOURCE,
        FILE,
        Column("size_bytes", BIGINT, "length of the file"),
        Column("modified_at", TIME, "when the file was last modified"),
        Column(
            "num_read", BIGINT, "raw records read; null until the batch is complete, as the other counts", nullable=True
        ),
        Column("num_kept", BIGINT, "records that became events", nullable=True, check="num_kept >= 0"),
        Column("num_rejected", BIGINT, "records rejected with a reason", nullable=True),
        Column("num_duplicates", BIGINT, "records that repeat an event", nullable=True, check="num_duplicates >= 0"),
    ),
    checks={"nothing_is_lost": "num_read IS NULL OR num_read = num_kept + num_rejected + num_duplicates"},
)


RAW_EVENTS = Table(
    "bronze",
    "raw_events",
    "raw record, exactly as it arrived",
    key=("batch_id", "file", "position"),
    slices=("batch_id",),
    columns=(
        BATCH_ID,
        SOURCE,
        FILE,
        POSITION,
        Column("arrived_at", TIME, "when its file was last modified, or Kafka got it"),
        HEADER,
        Column(
            "record",
            STRING,
            "the text line; for Parquet the row as JSON; encrypted unless privacy.keep_raw_ids",
            nullable=True,
            rekeyed="record",
            is_sensitive=True,
        ),
    ),
)


REJECTED_EVENTS = Table(
    "bronze",
    "rejected_events",
    "raw record that could not be used",
    key=("batch_id", "file", "position"),
    slices=("batch_id",),
    columns=(
        BATCH_ID,
        SOURCE,
        FILE,
        POSITION,
        Column("arrived_at", TIME, "when its file was last modified, or Kafka got it"),
        Column("reason", STRING, "why, from a closed list", values=REJECT_REASONS),
        HEADER,
        Column(
            "record",
            STRING,
            "the raw record, as in bronze.raw_events",
            nullable=True,
            rekeyed="record",
            is_sensitive=True,
        ),
        Column(
            "replayed_in",
            STRING,
            "the batch of the replay that ingested it after a correction of the mapping",
            nullable=True,
        ),
    ),
)


INGESTED_BATCHES = Table(
    "bronze",
    "ingested_batches",
    "ingested batch: the proof that nothing was lost",
    key=("batch_id",),
    slices=("batch_id",),
    columns=(
        BATCH_ID,
        SOURCE,
        count("num_files", "files in the batch"),
        count("num_read", "raw records read"),
        count("num_kept", "records that became events"),
        count("num_rejected", "records rejected with a reason"),
        count("num_duplicates", "records that repeat an event"),
        Column(
            "new_columns", T.ArrayType(STRING), "columns the source does not know, stored in attributes", nullable=True
        ),
        Column("first_occurred_at", TIME, "time of the earliest event", nullable=True),
        Column("last_occurred_at", TIME, "time of the latest event", nullable=True),
        Column("first_known_at", TIME, "from when on an as_of can see some of them", nullable=True),
        Column("last_known_at", TIME, "from when on an as_of can see all of them", nullable=True),
        Column("events_version", BIGINT, "Delta version of silver.events that first holds them"),
        Column("job", STRING, "the job that ingested it"),
        AS_OF,
    ),
    checks={"nothing_is_lost": "num_read = num_kept + num_rejected + num_duplicates"},
)
