"""Why an item is on a list, in words: by what weighed most among all that the trees were told."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from clm_spark.models.ranker.features import GROUPS
from clm_spark.models.ranker.lines import Bools, Singles
from clm_spark.models.ranker.sources import CONTENT, NEIGHBOURS, NEXT, OF_CATEGORY, TRANSFORMER, WITH

Row = Mapping[str, float]
Columns = Mapping[str, Singles]  # the features of all rows by name

ALIKE_IN_PRICE = 1.5  # times the usual price, or a share of it


def reasons_of(names: Sequence[str], features: Singles, contributions: Singles) -> list[str]:
    """One for each row: of the groups of features whose words are true of it, the one that adds most to the margin.

    `contributions` has what each of the features `names` adds, and behind them what all rows have in common. A group may
    add most because something is not known, such as a price: its words would be false, and are not told.
    """
    if len(features) == 0:
        return []
    places = {group: [place for place, name in enumerate(names) if name in GROUPS[group]] for group in WORDS}
    told = [group for group, of_group in places.items() if of_group]
    columns = dict(zip(names, features.T, strict=True))
    added = np.column_stack([contributions[:, places[group]].sum(axis=1) for group in told])
    with np.errstate(divide="ignore", invalid="ignore"):
        holds = np.column_stack([HOLDS[group](columns) for group in told])
    most = np.where(holds, added, -np.inf).argmax(axis=1)
    rows = (dict(zip(names, row, strict=True)) for row in features.tolist())
    return [WORDS[told[group]](row) for group, row in zip(most, rows, strict=True)]  # of a list: a few rows


def _own(row: Row) -> str:
    days, age, gap = row["days"], row["age"], row["gap"]
    if days < 2:
        return f"bought once, {age:.0f} days ago"
    late = age - gap
    when = f"due since {late:.0f} days" if late >= 0.5 else f"last {age:.0f} days ago"
    return f"bought {days:.0f} times, every {gap:.0f} days, {when}"


def _looked(row: Row) -> str:
    age = row["look_age"]
    if np.isfinite(age):
        return f"looked at {age:.0f} days ago"
    return f"looked at others of its category {row['category_look_age']:.0f} days ago"


def _category(row: Row) -> str:
    gap, age = row["category_gap"], row["category_age"]
    if np.isfinite(gap):
        return f"buys of its category every {gap:.0f} days, last {age:.0f} days ago"
    return f"bought of its category {age:.0f} days ago"


def _popular(row: Row) -> str:
    if row["item_days"] < 1:
        return "bought by nobody yet"
    return f"bought by customers {row['item_days']:.0f} times, {row['item_recent_days']:.0f} of late"


# Without the features of the customer: what is the same for all items is no reason.
WORDS: dict[str, Callable[[Row], str]] = {
    "own": _own,
    "looked": _looked,
    "category": _category,
    NEIGHBOURS: lambda row: "bought by customers whose baskets are alike",
    WITH: lambda row: "often in a basket with what the customer buys",
    NEXT: lambda row: "often in the next basket after what the customer bought",
    "taste": lambda row: "bought by customers with the same tastes",
    OF_CATEGORY: lambda row: "sells well of late in a category that the customer buys of",
    CONTENT: lambda row: "like what the customer took to, by its text",
    TRANSFORMER: lambda row: "follows what the customer bought last",
    "price": lambda row: f"costs {row['price']:.2f}, as the customer's purchases do",
    "popular": _popular,
}


def _is_above_0(*names: str) -> Callable[[Columns], Bools]:
    def is_above_0(columns: Columns) -> Bools:
        found: Bools = np.any([columns[name] > 0 for name in names if name in columns], axis=0)
        return found

    return is_above_0


def _is_known(*names: str) -> Callable[[Columns], Bools]:
    return lambda columns: np.any([np.isfinite(columns[name]) for name in names], axis=0)


# For which rows the words of a group are true.
HOLDS: dict[str, Callable[[Columns], Bools]] = {
    "own": _is_above_0("days"),
    "looked": _is_known("look_age", "category_look_age"),
    "category": _is_known("category_age"),
    NEIGHBOURS: _is_above_0(*GROUPS[NEIGHBOURS]),
    WITH: _is_above_0(WITH),
    NEXT: _is_above_0(NEXT),
    "taste": _is_above_0(*GROUPS["taste"]),
    OF_CATEGORY: _is_above_0(OF_CATEGORY),
    CONTENT: _is_above_0(CONTENT),
    TRANSFORMER: _is_above_0(TRANSFORMER),
    "price": lambda columns: np.abs(np.log(columns["price_over_usual"])) <= np.log(ALIKE_IN_PRICE),
    "popular": lambda columns: np.ones(len(columns["item_days"]), bool),
}
