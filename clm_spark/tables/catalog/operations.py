"""What was run."""

from typing import Literal, get_args

from pyspark.sql import types as T

from clm_spark.tables.catalog.columns import AS_OF, BIGINT, DATE, DOUBLE, STRING, TIME, count
from clm_spark.tables.contract import Column, Table

# How a run ended:
#   running         it has not ended yet, or was killed
#   done            it did all it had to
#   nothing_new     there was nothing to do
#   models_missing  done, but for models that could not be trained or are not there
#   failed          it stopped with an error
Status = Literal["running", "done", "nothing_new", "models_missing", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)

RUNS = Table(
    "gold",
    "runs",
    "job, as_of and: the last run itself; table its last complete run wrote; raw file it took in",
    key=("job", "as_of", "table_name", "file"),
    slices=("as_of", "job", "table_name"),
    columns=(
        Column("job", STRING, "the job"),
        AS_OF,
        Column("table_name", STRING, "the table written; null: this row is the run itself", nullable=True),
        Column("file", STRING, "the raw file that this row counts; null: the table as a whole", nullable=True),
        Column(
            "status",
            STRING,
            "of the run itself: running (or killed), done, nothing_new, models_missing (all but those), failed",
            nullable=True,
            values=STATUSES,
        ),
        Column("started_at", TIME, "when the run began; null but for the run itself", nullable=True),
        Column("ended_at", TIME, "when the run ended; null while it runs, and but for the run itself", nullable=True),
        Column(
            "error",
            STRING,
            "why the run failed, or which models are missing and why, in one line; null where all is done",
            nullable=True,
            is_sensitive=True,  # a message may cite raw data
        ),
        Column("version", BIGINT, "Delta version after the write; null but for tables", nullable=True),
        Column(
            "days",
            T.ArrayType(DATE),
            "the days written, by the table's own as_of, known_on or started_on; null: all, or the table has none",
            nullable=True,
        ),
        count("num_rows", "rows written"),
        Column(
            "seconds", DOUBLE, "time the write took, its computation included; of the run: all of it", nullable=True
        ),
        Column("num_read", BIGINT, "raw records read; null where none were, as the next three", nullable=True),
        Column("num_kept", BIGINT, "records that became events", nullable=True),
        Column("num_rejected", BIGINT, "records set aside with a reason", nullable=True),
        Column("num_duplicates", BIGINT, "records that repeat an event", nullable=True),
        Column("inputs", T.MapType(STRING, BIGINT), "Delta version of every table read"),
        Column("time_zone", STRING, "the zone of the shop's days in this run; null: UTC", nullable=True),
        Column("settings_hash", STRING, "sha-256 over the settings, Spark's own left out"),
        Column("code_version", STRING, "release, and a digest of the sources"),
    ),
    checks={
        "nothing_is_lost": "num_read IS NULL OR num_read = num_kept + num_rejected + num_duplicates",
        "a_run_has_a_status": "(table_name IS NULL) = (status IS NOT NULL)",
    },
)
