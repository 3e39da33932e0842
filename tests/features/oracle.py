"""Holds rows of a table to what DuckDB makes of the same log."""

import math
from collections.abc import Collection

import duckdb
import pyarrow as pa

from clm_spark.tables.contract import Table


def compare(log: pa.Table, mine: list, sql: str, table: Table, *, without: Collection[str] = ()) -> None:
    """The same keys, the same columns and the same values; `sql` speaks of the relation `log`."""
    key = [name for name in table.key if name != "as_of"]
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("log", log)
        found = db.execute(sql)
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    theirs = {tuple(row[name] for name in key): row for row in rows}
    ours = {tuple(row[name] for name in key): row for row in mine}
    assert set(names) == set(table.schema.names) - {"as_of"}, "the same columns"
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)
    differing = [
        (name, place, row[name], theirs[place][name])
        for place, row in ours.items()
        for name in names
        if name not in without and not _equal(row[name], theirs[place][name])
    ]
    assert differing == [], differing[:10]


def _equal(mine, theirs) -> bool:
    if isinstance(mine, float) and theirs is not None:
        return math.isclose(mine, theirs, rel_tol=1e-12, abs_tol=1e-12)
    return mine == theirs
