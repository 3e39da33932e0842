"""Why an item is on a list, in words: by what weighed most among all that the trees were told."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from clm_spark.models.ranker.features import GROUPS
from clm_spark.models.ranker.lines import Singles
from clm_spark.models.ranker.sources import CONTENT, NEIGHBOURS, NEXT, OF_CATEGORY, TRANSFORMER, WITH

Row = Mapping[str, float]


def reasons_of(names: Sequence[str], features: Singles, contributions: Singles) -> list[str]:
    """One for each row: of the groups of features the one that adds most to the margin.

    `contributions` has what each of the features `names` adds, and behind them what all rows have in common.
    """
    places = {group: [place for place, name in enumerate(names) if name in GROUPS[group]] for group in WORDS}
    told = [group for group, of_group in places.items() if of_group]
    most = np.column_stack([contributions[:, places[group]].sum(axis=1) for group in told]).argmax(axis=1)
    rows = (dict(zip(names, row, strict=True)) for row in features.tolist())
    return [WORDS[told[group]](row) for group, row in zip(most, rows, strict=True)]  # of a list: a few rows


def _own(row: Row) -> str:
    days, age, gap = row["days"], row["age"], row["gap"]
    if days < 1:
        return _popular(row)
    if days < 2:
        return f"bought once, {age:.0f} days ago"
    late = age - gap
    when = f"due since {late:.0f} days" if late >= 0.5 else f"last {age:.0f} days ago"
    return f"bought {days:.0f} times, every {gap:.0f} days, {when}"


def _looked(row: Row) -> str:
    age, of_category = row["look_age"], row["category_look_age"]
    if np.isfinite(age):
        return f"looked at {age:.0f} days ago"
    return f"looked at others of its category {of_category:.0f} days ago" if np.isfinite(of_category) else _popular(row)


def _category(row: Row) -> str:
    gap, age = row["category_gap"], row["category_age"]
    if np.isfinite(gap):
        return f"buys of its category every {gap:.0f} days, last {age:.0f} days ago"
    return f"bought of its category {age:.0f} days ago" if np.isfinite(age) else _popular(row)


def _popular(row: Row) -> str:
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
