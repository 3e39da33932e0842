"""The record: what was read and what became of it, and which tables were made."""

import pandas as pd
from pyspark.sql import functions as F

from clm_spark.report.blocks import Grid, Section, count_text, missing, number_text, share_text
from clm_spark.report.figures import last_writes, ledger_from_batches, reasons_from_rejected
from clm_spark.report.rows import first_line, lines, small_rows
from clm_spark.tables.catalog import INGESTED_BATCHES, REJECT_REASONS, REJECTED_EVENTS, RUNS, TABLES
from clm_spark.tables.lake import Lake

NUM_BATCHES = 10


def ledger(lake: Lake) -> Section:
    """Records read = kept + rejected + duplicates."""
    title = "Nothing is lost"
    # One row.
    sums = small_rows(lake, INGESTED_BATCHES, ledger_from_batches, at_most=1)
    if sums.empty or not sums.num_batches[0]:
        return missing("ledger", title, of=INGESTED_BATCHES, job="ingest_events")
    row = first_line(sums)
    lead = (
        f"{count_text(row.num_read)} records read = {count_text(row.num_kept)} kept + "
        f"{count_text(row.num_rejected)} rejected + {count_text(row.num_duplicates)} duplicates, "
        f"from {_counted(row.num_files, 'file')} in {_counted(row.num_batches, 'batch')}."
    )
    grids = [_batches(lake), *_reasons(lake, int(row.num_read))]
    return Section("ledger", title, lead, grids=grids)


def _batches(lake: Lake) -> Grid:
    # The last few; years of daily batches stay where they are.
    batches = small_rows(
        lake, INGESTED_BATCHES, lambda rows: rows.orderBy(F.desc("last_occurred_at"), "batch_id"), at_most=NUM_BATCHES
    )
    rows = [
        (row.batch_id[:12], row.source, count_text(row.num_read), count_text(row.num_kept),
         count_text(row.num_rejected), count_text(row.num_duplicates))
        for row in lines(batches)
    ]  # fmt: skip
    header = ("batch", "source", "read", "kept", "rejected", "duplicates")
    return Grid(f"Records of the last {NUM_BATCHES} batches at most.", header, rows, 2)


def _reasons(lake: Lake, num_read: int) -> list[Grid]:
    # One row per reason, from a closed list.
    reasons = small_rows(lake, REJECTED_EVENTS, reasons_from_rejected, at_most=len(REJECT_REASONS))
    if reasons.empty:
        return []
    rows = [
        (row.reason.replace("_", " "), count_text(row.num_rejected), share_text(row.num_rejected / num_read))
        for row in lines(reasons)
    ]
    return [Grid("Why records were rejected.", ("reason", "records", "of all read"), rows)]


def tables_made(lake: Lake) -> Section:
    """Every table the jobs of this day wrote."""
    title = "Tables made"
    as_of = lake.settings.as_of
    # One row per job and table it writes: a few dozen.
    as_a_whole = (F.col("as_of") == F.lit(as_of)) & F.col("table_name").isNotNull() & F.col("file").isNull()
    runs = small_rows(lake, RUNS, lambda rows: last_writes(rows.where(as_a_whole)), at_most=100)
    if runs.empty:
        return missing("tables", title, of=RUNS, job="ingest_events")
    place = {table.title: number for number, table in enumerate(TABLES)}
    runs = runs.assign(place=runs.table_name.map(place)).sort_values(["place", "job"])
    rows = [
        (row.table_name, row.job, count_text(row.num_rows), str(row.version), number_text(row.seconds, digits=1))
        for row in lines(runs)
    ]
    lead = (
        f"{runs.table_name.nunique()} tables written by {runs.job.nunique()} jobs for {as_of}, "
        f"with clm-spark {_last(runs.code_version)}."
    )
    grid = Grid("Rows written last, Delta version after it, time it took.",
                ("table", "job", "rows", "version", "seconds"), rows, 2)  # fmt: skip
    return Section("tables", title, lead, grids=[grid])


def _counted(number: int, one: str) -> str:
    many = f"{one}es" if one.endswith("ch") else f"{one}s"
    return f"{count_text(number)} {one if number == 1 else many}"


def _last(versions: pd.Series) -> str:
    return str(sorted(versions)[-1])
