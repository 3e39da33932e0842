"""The features of a candidate: what trees decide by."""

from collections.abc import Mapping, Sequence

import numpy as np

from clm_spark.models.ranker.knowledge import Knowledge, basket_vectors, taste_vectors
from clm_spark.models.ranker.lines import Floats, Ints, Lines, Singles, starts_of_runs
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.ranker.sources import (
    ALS,
    CONTENT,
    NEAREST,
    NEIGHBOURS,
    NEXT,
    OF_CATEGORY,
    SOURCES,
    TRANSFORMER,
    WITH,
    Block,
    limits_with,
    without_noise,
)

# The features, by what a list's reason is when they weigh most.
OWN_FEATURES = (
    "days", "units", "age", "first_age", "gap", "gap_deviation", "due", "due_by_item", "share", "share_since_first",
    "place", "recent_days", "days_of_three", "fading", "slowly_fading", "fast_decay", "slow_decay", "basket_vector",
)  # fmt: skip
LOOK_FEATURES = ("looks", "look_age", "looks_recent", "category_looks_share", "category_look_age")
CATEGORY_FEATURES = (
    "category_days", "category_age", "category_recent_days", "category_gap", "category_due", "category_share",
    "age_over_category_age", "share_in_category",
)  # fmt: skip
PRICE_FEATURES = ("price", "price_over_usual")
ITEM_FEATURES = (
    "item_days", "item_recent_days", "item_last_days", "item_trend", "item_buyers", "item_repeat_share",
    "item_returned_share", "item_kept_share", "item_gap_days", "item_first_age",
)  # fmt: skip
CUSTOMER_FEATURES = (
    "baskets", "basket_size", "last_basket_size", "different_items", "repeat_share", "last_age", "basket_gap",
    "recent_lines",
)  # fmt: skip
GROUPS: Mapping[str, tuple[str, ...]] = {
    "own": OWN_FEATURES,
    "looked": LOOK_FEATURES,
    "category": CATEGORY_FEATURES,
    NEIGHBOURS: (NEIGHBOURS, NEAREST),
    WITH: (WITH,),
    NEXT: (NEXT,),
    "taste": ("taste", ALS),
    OF_CATEGORY: (OF_CATEGORY,),
    CONTENT: (CONTENT,),
    TRANSFORMER: (TRANSFORMER,),
    "price": PRICE_FEATURES,
    "popular": ITEM_FEATURES,
    "customer": CUSTOMER_FEATURES,
}


# What is told of the time since something that never was: later than anything that was.
NEVER = 100_000.0
TIMES = frozenset({
    "age", "first_age", "gap", "gap_deviation", "due", "due_by_item", "place", "look_age", "category_look_age",
    "category_age", "category_gap", "category_due", "age_over_category_age", "item_gap_days", "last_age", "basket_gap",
})  # fmt: skip
UNKNOWN = -1.0  # in the place of all others: below what any can be


def unknown_as(name: str) -> float:
    """The number that trees are told where a feature is not known: where every value is a number they are faster, and take half the memory."""
    return NEVER if name in TIMES else UNKNOWN


def as_trees_know(features: Singles, names: Sequence[str]) -> Singles:
    """The features with a number for what is not known, such as a price beside the usual one where all was free."""
    return np.where(np.isfinite(features), features, np.array([unknown_as(name) for name in names], np.float32))


def features_with(settings: CandidateSettings) -> tuple[str, ...]:
    """The names of the features in their order: all but the scores of sources that are left out."""
    left_out = set(SOURCES) - set(limits_with(settings))
    return tuple(name for names in GROUPS.values() for name in names if name not in left_out)


def features_of(block: Block, keys: Ints) -> Singles:
    """Rows x `features_with`, for pairs of customer and item as rows of the block x items + item."""
    features = _by_name(block, keys, keys // block.known.num_items, keys % block.known.num_items)
    names = features_with(block.asked.settings)
    table = np.empty((len(keys), len(names)), np.float32)
    for place, name in enumerate(names):
        table[:, place] = features[name]
    return table


def _by_name(block: Block, keys: Ints, customers: Ints, items: Ints) -> dict[str, Floats]:
    known, bought = block.known, block.histories.bought
    features: dict[str, Floats] = {name: known.facts[name][items] for name in ITEM_FEATURES}
    features |= {source: block.score(source).at(customers, items) for source in limits_with(block.asked.settings)}
    features |= _of_pairs(bought, keys, customers, items, known, block.asked.recent_days)
    features |= _of_looks(block.histories.looked, keys, customers, items, known.categories, block.asked.recent_days)
    features |= _of_customers(bought, customers, block.asked.recent_days)
    features |= _of_categories(bought, customers, items, features["age"], known.categories, block.asked.recent_days)
    taste = taste_vectors(bought, known.rarity) @ known.tastes
    features["taste"] = without_noise(np.einsum("nd,nd->n", np.asarray(taste)[customers], known.tastes[items]))
    return features | _of_prices(bought, customers, items, known.facts["price"])


def _of_pairs(
    bought: Lines, keys: Ints, customers: Ints, items: Ints, known: Knowledge, recent_days: int
) -> dict[str, Floats]:
    """Of the customer with the item; unknown where it was never bought."""
    pairs, places, ages = bought.pairs, bought.places, bought.ages.astype(float)
    at, is_own = pairs.find(keys)
    count = pairs.num_lines

    def of(values: Floats, other: float = np.nan) -> Floats:
        return np.where(is_own, values[at], other) if len(values) else np.full(len(keys), other)

    latest, oldest = ages[pairs.starts], ages[pairs.ends]
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(count > 1, (oldest - latest) / (count - 1), np.nan)
        spread = np.sqrt(np.maximum(pairs.sums(bought.gaps**2) / (count - 1) - gap**2, 0))
        age, own_gap = of(latest), of(gap)
        features = {
            "days": of(count, 0.0),
            "units": of(pairs.sums(bought.units), 0.0),
            "age": age,
            "first_age": of(oldest),
            "gap": own_gap,
            "gap_deviation": of(np.where(count > 2, spread, np.nan)),
            "due": age / own_gap,
            "due_by_item": age / known.facts["item_gap_days"][items],
            "share": of(count, 0.0) / bought.num_baskets[customers],
            "share_since_first": of(count / (places[pairs.ends] + 1.0), 0.0),
            "place": of(places[pairs.starts].astype(float)),
            "recent_days": of(pairs.sums(ages <= recent_days), 0.0),
            "days_of_three": of(pairs.sums(ages <= 3 * recent_days), 0.0),
            "fading": of(pairs.sums(0.8**places), 0.0),
            "slowly_fading": of(pairs.sums(0.95**places), 0.0),
            "fast_decay": of(pairs.sums(0.5 ** (2 * ages / recent_days)), 0.0),
            "slow_decay": of(pairs.sums(0.5 ** (ages / recent_days / 2)), 0.0),
        }
    vectors = basket_vectors(bought).tocsr()
    vectors.sort_indices()  # in the order of the pairs
    return features | {"basket_vector": of(vectors.data.astype(float), 0.0)}


def _of_looks(
    looked: Lines, keys: Ints, customers: Ints, items: Ints, categories: Ints, recent_days: int
) -> dict[str, Floats]:
    """Of days on which the customer looked at the item or at others of its category, and did not buy it."""
    pairs, num_categories = looked.pairs, int(categories.max(initial=0)) + 1
    shape = (looked.num_customers, num_categories)
    lines, latest = np.zeros(shape), np.full(shape, np.nan)
    np.add.at(lines, (looked.customers, categories[looked.items]), 1)
    np.fmin.at(latest, (looked.customers, categories[looked.items]), looked.ages)
    shares = lines / np.maximum(1, lines.sum(axis=1, keepdims=True))
    at, is_looked = pairs.find(keys)

    def of(values: Floats, other: float) -> Floats:
        return np.where(is_looked, values[at], other) if len(values) else np.full(len(keys), other)

    return {
        "looks": of(pairs.num_lines, 0.0),
        "look_age": of(looked.ages[pairs.starts].astype(float), np.nan),
        "looks_recent": of(pairs.sums(looked.ages <= recent_days), 0.0),
        "category_looks_share": shares[customers, categories[items]],
        "category_look_age": latest[customers, categories[items]],
    }


def _of_customers(bought: Lines, customers: Ints, recent_days: int) -> dict[str, Floats]:
    lines, baskets = bought.of_customers(np.ones(len(bought))), bought.num_baskets.astype(float)
    different = bought.of_customers(~bought.is_repeat)
    latest = bought.places == 0
    last_age, first_age = np.full(bought.num_customers, np.nan), np.zeros(bought.num_customers)
    last_age[bought.customers[latest]] = bought.ages[latest]
    np.maximum.at(first_age, bought.customers, bought.ages)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_customers = {
            "baskets": baskets,
            "basket_size": lines / baskets,
            "last_basket_size": bought.of_customers(latest),
            "different_items": different,
            "repeat_share": 1 - different / lines,
            "last_age": last_age,
            "basket_gap": np.where(baskets > 1, (first_age - last_age) / (baskets - 1), np.nan),
            "recent_lines": bought.of_customers(bought.ages <= recent_days),
        }
    return {name: values[customers] for name, values in of_customers.items()}


def _of_categories(
    bought: Lines, customers: Ints, items: Ints, age: Floats, categories: Ints, recent_days: int
) -> dict[str, Floats]:
    """Of the customer with the item's category."""
    num_categories = int(categories.max(initial=0)) + 1
    of_lines = bought.customers * num_categories + categories[bought.items]
    keys, inverse = np.unique(of_lines, return_inverse=True)
    asked = customers * num_categories + categories[items]
    if len(keys) == 0:
        unknown, none = np.full(len(asked), np.nan), np.zeros(len(asked))
        counted = ("category_days", "category_recent_days", "share_in_category")
        return {name: none if name in counted else unknown for name in CATEGORY_FEATURES}
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    is_own = keys[at] == asked
    lines: Floats = np.bincount(inverse, minlength=len(keys)).astype(float)
    latest, oldest = np.full(len(keys), np.inf), np.zeros(len(keys))
    np.minimum.at(latest, inverse, bought.ages)
    np.maximum.at(oldest, inverse, bought.ages)
    baskets = np.sort(inverse * (int(bought.baskets.max()) + 1) + bought.baskets)
    in_baskets = np.bincount(baskets[starts_of_runs(baskets)] // (int(bought.baskets.max()) + 1), minlength=len(keys))
    recent: Floats = np.bincount(inverse, weights=bought.ages <= recent_days, minlength=len(keys)).astype(float)
    per_customer = bought.of_customers(np.ones(len(bought)))
    pair_at, is_pair = bought.pairs.find(customers * bought.num_items + items)
    pair_lines = np.where(is_pair, bought.pairs.num_lines[pair_at], 0.0)

    def of(values: Floats, other: float = np.nan) -> Floats:
        return np.where(is_own, values[at], other)

    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(in_baskets > 1, (oldest - latest) / (in_baskets - 1), np.nan)
        category_age, category_lines = of(latest), of(lines, 0.0)
        return {
            "category_days": of(in_baskets.astype(float), 0.0),
            "category_age": category_age,
            "category_recent_days": of(recent, 0.0),
            "category_gap": of(gap),
            "category_due": category_age / of(gap),
            "category_share": category_lines / per_customer[customers],
            "age_over_category_age": age - category_age,
            "share_in_category": pair_lines / np.maximum(category_lines, 1),
        }


def _of_prices(bought: Lines, customers: Ints, items: Ints, prices: Singles) -> dict[str, Floats]:
    """The item's mean price, and over the mean price of what the customer buys."""
    own = prices[bought.items].astype(float)
    is_priced = np.isfinite(own)
    with np.errstate(divide="ignore", invalid="ignore"):
        usual = bought.of_customers(np.where(is_priced, own, 0.0)) / bought.of_customers(is_priced)
        return {"price": prices[items].astype(float), "price_over_usual": prices[items] / usual[customers]}
