"""What a step declares."""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Step:
    """How the rows of an older table become those of a newer one.

    An older table is known by `drops`: columns that it has and that `change` takes away or renames; and, where only its
    key changed, by `old_key`. The steps of a table follow one another: whatever table goes through one goes through all later
    ones. What the last leaves out of today's columns is added with the column's default.
    """

    name: str  # a date and what becomes of what; stands in the table's properties, so it is never changed
    table: str  # as layer.name
    change: Callable[[DataFrame], DataFrame]
    drops: tuple[str, ...] = ()
    old_key: tuple[str, ...] | None = None
