"""Whether a day of a table was made at all: one without a row may be a thin shop's, or one that no job has run for."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.tables.catalog import RUNS
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake


def rows_made(lake: Lake, table: Table) -> DataFrame:
    """The table's rows of as_of; none where it was never written."""
    return lake.read_as_of(table) if lake.exists(table) else lake.spark.createDataFrame([], table.schema)


def check_made(lake: Lake, *tables: Table) -> None:
    """Raise `SettingsError` where one of these tables has no row of as_of, and no run has written that day."""
    for table in tables:
        if table.clock != "as_of":
            continue
        has_rows = lake.exists(table) and not lake.read_as_of(table).isEmpty()
        if not has_rows and not _is_written(lake, table):
            raise SettingsError(
                f"{table.title} has no row as of {lake.settings.as_of}: run the job that writes it for that day first "
                "(`clm jobs` lists them in order)"
            )


def _is_written(lake: Lake, table: Table) -> bool:
    """Whether gold.runs has a write of the day, be it of no rows: Delta skips such a commit."""
    book = Lake(lake.spark, lake.settings)  # the record of runs is no input of the job
    if not book.exists(RUNS):
        return False
    is_of_day = F.col("days").isNull() | F.array_contains("days", F.lit(lake.settings.as_of))
    return not book.read(RUNS).where((F.col("table_name") == table.title) & is_of_day).isEmpty()
