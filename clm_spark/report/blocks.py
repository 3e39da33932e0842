"""What a section of the page is made of, and how figures are written in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from clm_spark.models.catalogue import MODELS
from clm_spark.tables.contract import Table


@dataclass(frozen=True)
class Chart:
    """A picture and the sentence below it that says what one sees, with its unit."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Grid:
    """A table of text; all columns after the first `num_labels` hold figures and are set to the right."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_labels: int = 1


@dataclass(frozen=True)
class Section:
    """One part of the page: what it says in a sentence or two, then pictures, tables and remarks."""

    anchor: str
    title: str
    lead: str
    charts: Sequence[Chart] = ()
    grids: Sequence[Grid] = ()
    notes: Sequence[str] = ()


def missing(anchor: str, title: str, *, of: Table, job: str, reason: str | None = None) -> Section:
    """The section when its table is not there, or has nothing for this day; `reason` is what the job says of that."""
    said = f"{job}: {reason}." if reason else f"{of.title} has no rows for this day. The job {job} writes it."
    return Section(anchor, title, f"Nothing to show yet: {said}")


def count_text(value: float | None) -> str:
    """A whole number with thousands apart."""
    return "-" if value is None or pd.isna(value) else f"{value:,.0f}"


def number_text(value: float | None, *, digits: int = 3) -> str:
    """A figure with a fixed number of digits."""
    return "-" if value is None or pd.isna(value) else f"{value:,.{digits}f}"


def day_text(day: object) -> str:
    """A day, year first."""
    return "-" if day is None or pd.isna(day) else str(day)  # type: ignore[call-overload]


def share_text(value: float | None) -> str:
    """A share of 0 to 1 as percent."""
    return "-" if value is None or pd.isna(value) else f"{value:.1%}"


def money_text(cents: float | None) -> str:
    """Cents in currency units."""
    if cents is None or pd.isna(cents):
        return "-"
    return f"{cents / 100:,.0f}" if abs(cents) >= 10_000_000 else f"{cents / 100:,.2f}"


def words(name: str) -> str:
    """A column's, model's or metric's name as one reads it: `recall_at_20` is Recall@20."""
    known = {"auc": "AUC", **{model.name: model.words[0].upper() + model.words[1:] for model in MODELS}}
    before, _, after = name.partition("_at_")
    if after.isdigit():
        return f"{before.upper() if before in ('ndcg', 'mrr', 'hr') else before.replace('_', ' ').capitalize()}@{after}"
    return known.get(name, name.replace("_", " ").capitalize())
