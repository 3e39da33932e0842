"""Why an item is on a list, in words: by what weighed most among all that the trees were told."""

from collections.abc import Callable

import numpy as np

from clm_spark.models.ranker.features import FEATURES, GROUPS
from clm_spark.models.ranker.lines import Singles
from clm_spark.models.ranker.sources import NEIGHBOURS, NEXT, OF_CATEGORY, TRANSFORMER, WITH

PLACES = {name: place for place, name in enumerate(FEATURES)}
TOLD = tuple(group for group in GROUPS if group != "customer")  # what is the same for all items is no reason


def reasons_of(features: Singles, contributions: Singles) -> list[str]:
    """One for each row: of the groups of features the one that adds most to the margin.

    `contributions` has what each of FEATURES adds, and behind them what all rows have in common.
    """
    of_groups = np.column_stack(
        [contributions[:, [PLACES[name] for name in GROUPS[group]]].sum(axis=1) for group in TOLD]
    )
    most = of_groups.argmax(axis=1)
    return [WORDS[TOLD[group]](row) for group, row in zip(most, features, strict=True)]  # of a list: a few rows


def _of(row: Singles, name: str) -> float:
    return float(row[PLACES[name]])


def _own(row: Singles) -> str:
    days, age, gap = _of(row, "days"), _of(row, "age"), _of(row, "gap")
    if days < 1:
        return _popular(row)
    if days < 2:
        return f"bought once, {age:.0f} days ago"
    late = age - gap
    when = f"due since {late:.0f} days" if late >= 0.5 else f"last {age:.0f} days ago"
    return f"bought {days:.0f} times, every {gap:.0f} days, {when}"


def _looked(row: Singles) -> str:
    age = _of(row, "look_age")
    return f"looked at {age:.0f} days ago" if np.isfinite(age) else _popular(row)


def _category(row: Singles) -> str:
    gap, age = _of(row, "category_gap"), _of(row, "category_age")
    if np.isfinite(gap):
        return f"buys of its category every {gap:.0f} days, last {age:.0f} days ago"
    return f"bought of its category {age:.0f} days ago" if np.isfinite(age) else _popular(row)


def _popular(row: Singles) -> str:
    return f"bought by customers {_of(row, 'item_days'):.0f} times, {_of(row, 'item_recent_days'):.0f} of late"


WORDS: dict[str, Callable[[Singles], str]] = {
    "own": _own,
    "looked": _looked,
    "category": _category,
    NEIGHBOURS: lambda row: "bought by customers whose baskets are alike",
    WITH: lambda row: "often in a basket with what the customer buys",
    NEXT: lambda row: "often in the next basket after what the customer bought",
    "taste": lambda row: "bought by customers with the same tastes",
    OF_CATEGORY: lambda row: "sells well of late in a category that the customer buys of",
    TRANSFORMER: lambda row: "follows what the customer bought last",
    "price": lambda row: f"costs {_of(row, 'price'):.2f}, as the customer's purchases do",
    "popular": _popular,
}
