"""What was run."""

from pyspark.sql import types as T

from clm_spark.tables.catalog.columns import AS_OF, BIGINT, DATE, DOUBLE, STRING, count
from clm_spark.tables.contract import Column, Table

RUNS = Table(
    "gold",
    "runs",
    "job, as_of and table written, and per raw file that the run took in: the manifest",
    key=("job", "as_of", "table_name", "file"),
    slices=("as_of", "job"),
    columns=(
        Column("job", STRING, "the job"),
        AS_OF,
        Column("table_name", STRING, "the table written"),
        Column("file", STRING, "the raw file that this row counts; null: the run as a whole", nullable=True),
        Column("version", BIGINT, "Delta version after the write; null per file, as seconds", nullable=True),
        Column(
            "days",
            T.ArrayType(DATE),
            "the days written, by the table's own as_of, known_on or started_on; null: all, or the table has none",
            nullable=True,
        ),
        count("num_rows", "rows written"),
        Column("seconds", DOUBLE, "time the write took, its computation included", nullable=True),
        Column("num_read", BIGINT, "raw records read; null where none were, as the next three", nullable=True),
        Column("num_kept", BIGINT, "records that became events", nullable=True),
        Column("num_rejected", BIGINT, "records set aside with a reason", nullable=True),
        Column("num_duplicates", BIGINT, "records that repeat an event", nullable=True),
        Column("inputs", T.MapType(STRING, BIGINT), "Delta version of every table read"),
        Column("settings_hash", STRING, "sha-256 over the settings"),
        Column("code_version", STRING, "version of clm-spark"),
    ),
    checks={"nothing_is_lost": "num_read IS NULL OR num_read = num_kept + num_rejected + num_duplicates"},
)
