"""What the synthetic shop sells."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from clm_spark.demo.arrays import Numbers, Reals
from clm_spark.demo.parameters import Shop, ShopParameters

MONTHS = 12
LOWEST_PRICE_CENTS = 50
ITEMS_SCHEMA = (
    "item_id string, category string, brand string, price_cents bigint, popularity double, peak_month int, "
    "season_swing double"
)


@dataclass(frozen=True)
class Items:
    """All items, those of a category side by side, the most popular of it first."""

    item_id: pa.Array
    category: Numbers
    brand: Numbers
    price_cents: Numbers
    relative_price: Reals  # over the median of its category
    popularity: Reals  # share of its category, seasons aside
    peak_month: Numbers  # 0 is January
    season_swing: Reals
    first_of_category: Numbers  # and one more, past the last
    chance_up_to: Reals  # month after month: chance of each item and those before it, plus the month
    category_season: Reals  # [month, category]: popularity against the mean of the year

    def drawn(self, category: Numbers, month: Numbers, chance: Reals) -> Numbers:
        """An item of the category by its popularity in that month; `chance` is uniform on 0 to 1."""
        first, past = self.first_of_category[category], self.first_of_category[category + 1]
        months_start = month * len(self.category)
        low = np.where(first > 0, self.chance_up_to[months_start + first - 1], month)
        high = self.chance_up_to[months_start + past - 1]
        found = np.searchsorted(self.chance_up_to, low + chance * (high - low), side="right") - months_start
        item: Numbers = np.clip(found, first, past - 1)
        return item


def items_of(shop: Shop) -> Items:
    """The shop's items; every worker draws the same."""
    laws, draws = shop.parameters, shop.stream("items")
    num_categories, num_items = len(laws.categories), laws.num_items
    category = np.sort(np.arange(num_items) % num_categories)
    first = np.searchsorted(category, np.arange(num_categories + 1))
    rank = np.arange(num_items) - first[category] + 1
    weight = rank.astype(np.float64) ** -laws.popularity_exponent
    popularity = weight / np.add.reduceat(weight, first[:-1])[category]
    relative_price = np.exp(laws.price_spread * draws.standard_normal(num_items))
    median_price = laws.median_price * np.exp(laws.price_spread * draws.standard_normal(num_categories))
    price_cents = np.maximum(LOWEST_PRICE_CENTS, np.rint(100 * median_price[category] * relative_price))
    peak_month = (draws.integers(MONTHS, size=num_categories)[category] + draws.integers(-1, 2, num_items)) % MONTHS
    season_swing = laws.item_season_swing * draws.random(num_items)
    by_month = popularity * (1 + season_swing * np.cos(_angle(np.arange(MONTHS)[:, None] - peak_month)))
    # Numbers are shuffled: an item's name must not give away its popularity.
    numbers = draws.permutation(num_items)
    return Items(
        item_id=pa.array([f"i{number:06d}" for number in numbers], pa.string()),
        category=category,
        brand=category * laws.brands_per_category + draws.integers(laws.brands_per_category, size=num_items),
        price_cents=price_cents.astype(np.int64),
        relative_price=relative_price,
        popularity=popularity,
        peak_month=peak_month,
        season_swing=season_swing,
        first_of_category=first,
        chance_up_to=_chance_up_to(by_month),
        category_season=_category_season(by_month, first),
    )


def item_rows(items: Items, laws: ShopParameters) -> pa.RecordBatch:
    """One row per item: the truth, in the columns of `ITEMS_SCHEMA`."""
    return pa.record_batch(
        {
            "item_id": items.item_id,
            "category": pa.array(laws.categories, pa.string()).take(pa.array(items.category)),
            "brand": brand_names(laws).take(pa.array(items.brand)),
            "price_cents": items.price_cents,
            "popularity": items.popularity,
            "peak_month": pa.array(items.peak_month + 1, pa.int32()),
            "season_swing": items.season_swing,
        }
    )


def brand_names(laws: ShopParameters) -> pa.Array:
    """The names of all brands, in the order of their numbers."""
    return pa.array([f"{of}-brand-{n}" for of in laws.categories for n in range(1, laws.brands_per_category + 1)])


def _angle(months: Numbers) -> Reals:
    return 2 * np.pi * months / MONTHS


def _chance_up_to(by_month: Reals) -> Reals:
    chances = np.cumsum(by_month, axis=1)
    return (chances / chances[:, -1:] + np.arange(MONTHS)[:, None]).ravel()


def _category_season(by_month: Reals, first: Numbers) -> Reals:
    of_category: Reals = np.add.reduceat(by_month, first[:-1], axis=1)
    of_the_year: Reals = of_category.mean(axis=0)
    return of_category / of_the_year
