"""A feature is a declaration: name, meaning, window, how it merges, and what a customer without it has.

Columns, comments, rules and the computation follow from it; the unit is the name's ending, as everywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import types as T

from clm_spark.tables.contract import Column

LONG_DAYS = (30, 90, 365)  # windows in days of what takes a while to show
NET_REVENUE = "revenue_cents - refund_cents"


@dataclass(frozen=True)
class Sum:
    """A sum of days: the last `window_days` before as_of, or all. Without such days it is 0.

    `of` is SQL over a row of the daily table. Sums of whole numbers are exact, whatever the order, so yesterday's may
    be carried on by what enters the window and what leaves it.
    """

    name: str
    meaning: str
    of: str
    window_days: int | None = None
    is_nullable: bool = False  # rows of an earlier release do not have it; they are made anew where they are needed

    @property
    def column(self) -> Column:
        """Its column in the table."""
        # Not below zero: its days are held to that.
        return Column(self.name, T.LongType(), self.meaning, nullable=self.is_nullable)


@dataclass(frozen=True)
class Age:
    """Days from the first or the last day that satisfies `where` until as_of; 1 is the day before it. Null: no such day."""

    name: str
    meaning: str
    of: Literal["first", "last"]
    where: str = "true"

    @property
    def column(self) -> Column:
        """Its column in the table."""
        is_nullable = self.where != "true"  # a customer without any day has no row
        return Column(self.name, T.LongType(), self.meaning, nullable=is_nullable, check=f"{self.name} > 0")


@dataclass(frozen=True)
class SquaredGaps:
    """The squared days from each day that satisfies `where` to the next such day, summed. Fewer than two days: 0.

    `recency` names the `Age` of the last such day.
    """

    name: str
    meaning: str
    where: str
    recency: str

    @property
    def column(self) -> Column:
        """Its column in the table."""
        return Column(self.name, T.LongType(), self.meaning, check=f"{self.name} >= 0")


@dataclass(frozen=True)
class Distinct:
    """How many different values days hold: the last `window_days` before as_of, or all. Without such days it is 0.

    `of` is the daily table's theta sketch of them: exact up to some 4,000, beyond that within about 2 %. Sketches are
    merged, but nothing can be taken out of one: such a feature is not carried on.
    """

    name: str
    meaning: str
    of: str
    window_days: int | None = None

    @property
    def column(self) -> Column:
        """Its column in the table."""
        return Column(self.name, T.LongType(), self.meaning, check=f"{self.name} >= 0")


@dataclass(frozen=True)
class Last:
    """The text `of` of the last day that has one. Null: none has. Not carried on either."""

    name: str
    meaning: str
    of: str

    @property
    def column(self) -> Column:
        """Its column in the table."""
        return Column(self.name, T.StringType(), self.meaning, nullable=True)


@dataclass(frozen=True)
class Derived:
    """SQL over the merged features of the same row. Null in the cases that `meaning` names."""

    name: str
    meaning: str
    sql: str
    check: str | None = None
    is_nullable: bool = True

    @property
    def column(self) -> Column:
        """Its column in the table."""
        check = self.check.format(self.name) if self.check else None
        return Column(self.name, T.DoubleType(), self.meaning, nullable=self.is_nullable, check=check)


Feature = Sum | Age | SquaredGaps | Distinct | Last | Derived


def windowed(stem: str, meaning: str, of: str, windows: Iterable[int | None]) -> list[Sum]:
    """A sum over each of the windows; None is all there is. `stem_cents` becomes `stem_30d_cents`."""
    return [
        Sum(
            windowed_name(stem, days),
            f"{meaning} {'ever' if days is None else last(days)}",
            of,
            window_days=days,
        )
        for days in windows
    ]


def distinct(stem: str, meaning: str, of: str, windows: Iterable[int | None]) -> list[Distinct]:
    """How many different ones over each of the windows; None is all there is."""
    return [
        Distinct(windowed_name(stem, days), f"{meaning} {'ever' if days is None else last(days)}", of, window_days=days)
        for days in windows
    ]


def share(stem: str, meaning: str, part: str, whole: str, windows: Iterable[int]) -> list[Derived]:
    """`part` of `whole`, both stems of sums, over each of the windows. Null: there is no whole."""
    return [
        Derived(
            windowed_name(f"{stem}_share", days),
            f"{meaning} {last(days)}; null: none",
            f"try_divide({windowed_name(part, days)}, {windowed_name(whole, days)})",
            check="{} BETWEEN 0 AND 1",
        )
        for days in windows
    ]


def ratio(stem: str, meaning: str, above: str, below: str, windows: Iterable[int]) -> list[Derived]:
    """`above` over `below`, both stems of sums, over each of the windows. Null: nothing to divide by."""
    return [
        Derived(
            windowed_name(stem, days),
            f"{meaning} {last(days)}; null: none",
            f"try_divide({windowed_name(above, days)}, {windowed_name(below, days)})",
        )
        for days in windows
    ]


def trend(name: str, meaning: str, stem: str, days: int) -> Derived:
    """A sum over a window against the same over the window before it, each plus one."""
    now, both = f"{stem}_{days}d", f"{stem}_{2 * days}d"
    described = f"{meaning} of the last {days} days over those of the {days} days before, each plus one"
    return Derived(name, described, f"({now} + 1) / ({both} - {now} + 1)", check="{} > 0", is_nullable=False)


def windowed_name(stem: str, days: int | None) -> str:
    """`num_orders`, 30 becomes `num_orders_30d`; a unit stays at the end."""
    if days is None:
        return stem
    for unit in ("_cents", "_share", "_seconds"):
        if stem.endswith(unit):
            return f"{stem.removesuffix(unit)}_{days}d{unit}"
    return f"{stem}_{days}d"


def last(days: int) -> str:
    """The window in words."""
    return "on the last day" if days == 1 else f"in the last {days} days"
