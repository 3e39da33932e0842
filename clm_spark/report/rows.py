"""The rows the page is made from: what a table could know that morning, summed up before it leaves Spark."""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame

from clm_spark.report.figures import keep_newest
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake


def known_rows(lake: Lake, table: Table, *, newest_of: tuple[str, ...] | None = None) -> DataFrame:
    """What the table knew on the morning of the run's as_of; rows that speak for a day are those of that day.

    With `newest_of`, those of the last day that has any, in each such group: not every model is trained every day. Whoever
    shows them says of which day they are.
    """
    if table.clock == "as_of" and newest_of is not None:
        return keep_newest(lake.read(table), as_of=lake.settings.as_of, of=newest_of)
    return lake.read_as_of(table) if table.clock else lake.read(table)


def small_rows(
    lake: Lake,
    table: Table,
    figures: Callable[[DataFrame], DataFrame],
    *,
    at_most: int,
    newest_of: tuple[str, ...] | None = None,
) -> pd.DataFrame:
    """Figures made from a table, brought to the driver: no more than `at_most` rows, none where the table is missing.

    The one place where the report leaves Spark; each caller says where its bound comes from.
    """
    if not lake.exists(table):
        return pd.DataFrame()
    return figures(known_rows(lake, table, newest_of=newest_of)).limit(at_most).toPandas()


def lines(rows: pd.DataFrame) -> Iterable[Any]:
    """The rows as tuples with the columns' names."""
    return rows.itertuples(index=False)


def first_line(rows: pd.DataFrame) -> Any:
    """The first row, with the columns' names."""
    return next(iter(lines(rows)))
