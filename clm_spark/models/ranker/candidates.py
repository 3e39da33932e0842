"""Items that each customer of a batch might buy, and the features of each: cost is linear in customers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from clm_spark.models import top_k
from clm_spark.models.ranker.als_source import folded_in
from clm_spark.models.ranker.knowledge import (
    CELLS,
    Knowledge,
    basket_vectors,
    decayed,
    lengths_of,
    scaled_to_one,
    taste_vectors,
)
from clm_spark.models.ranker.lines import Floats, Histories, Ints, Lines, Singles, histories_of, starts_of_runs
from clm_spark.models.ranker.settings import CandidateSettings

MOST_CUSTOMERS = 512  # of a block

NEIGHBOURS, NEAREST, WITH, NEXT, TASTES = "neighbours", "nearest", "bought_with", "bought_next", "tastes"
ALS, OF_CATEGORY = "als", "of_category"
SOURCES = (NEIGHBOURS, NEAREST, WITH, NEXT, ALS, OF_CATEGORY)

# The features, by what a list's reason is when they weigh most.
OWN_FEATURES = (
    "days", "units", "age", "first_age", "gap", "gap_deviation", "due", "due_by_item", "share", "share_since_first",
    "place", "recent_days", "days_of_three", "fading", "slowly_fading", "fast_decay", "slow_decay", "basket_vector",
)  # fmt: skip
LOOK_FEATURES = ("looks", "look_age", "looks_recent")
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
    "price": PRICE_FEATURES,
    "popular": ITEM_FEATURES,
    "customer": CUSTOMER_FEATURES,
}
FEATURES = tuple(name for names in GROUPS.values() for name in names)


@dataclass(frozen=True)
class Candidates:
    """Rows by customer and item; `customers` are rows of the batch, `features` rows x FEATURES."""

    customers: Ints
    items: Ints
    features: Singles


@dataclass(frozen=True)
class CandidateOptions:
    """How candidates are made, beside what is known of the items."""

    settings: CandidateSettings
    recent_days: int
    hides_seen: bool = False


def blocks_of(batches: Iterable[pa.RecordBatch], known: Knowledge, asked: CandidateOptions) -> Iterator["Block"]:
    """The rows of all batches in blocks whose scores of all items fit into memory."""
    most = max(1, min(MOST_CUSTOMERS, CELLS // max(1, known.num_items)))
    for batch in batches:
        for start in range(0, batch.num_rows, most):
            rows = batch.slice(start, most)
            histories = histories_of(rows, num_items=known.num_items, longest=asked.settings.longest_history)
            yield Block(rows, histories, known, asked)


class Block:
    """A few hundred customers: their histories, and every source's scores of all items."""

    def __init__(self, rows: pa.RecordBatch, histories: Histories, known: Knowledge, asked: CandidateOptions) -> None:
        self.rows, self.histories, self.known, self.asked = rows, histories, known, asked
        self.scores: dict[str, Singles] = {}

    def score(self, source: str) -> Singles:
        """Customers x items: what the source gives each."""
        if source not in self.scores:
            self.scores[source] = SCORED_BY[source](self)
        return self.scores[source]

    @cached_property
    def alike(self) -> Singles:
        """Customers x customers of reference: cosine of their baskets' vectors; -1 with themselves."""
        known, histories = self.known, self.histories
        alike = np.asarray((scaled_to_one(basket_vectors(histories.bought)) @ known.references).toarray())
        if alike.shape[1]:
            places = np.minimum(np.searchsorted(known.reference_keys, histories.customer_keys), alike.shape[1] - 1)
            own = np.flatnonzero(known.reference_keys[places] == histories.customer_keys)
            alike[own, places[own]] = -1
        return alike

    def candidates(self) -> Candidates:
        """Of every source its best, each pair once."""
        keys = self._keys()
        customers, items = keys // self.known.num_items, keys % self.known.num_items
        features = _features(self, keys, customers, items)
        return Candidates(customers, items, np.column_stack([features[name] for name in FEATURES]).astype(np.float32))

    def _keys(self) -> Ints:
        asked, histories, num_items = self.asked.settings, self.histories, self.known.num_items
        own = _best_of_rows(basket_vectors(histories.bought), asked.own)
        popular = self.known.popular
        everybody = np.repeat(np.arange(histories.num_customers), len(popular)) * num_items
        limits = {
            NEIGHBOURS: asked.from_neighbours,
            NEAREST: asked.from_neighbours,
            WITH: asked.from_items,
            NEXT: asked.from_items,
            ALS: asked.from_als,
            OF_CATEGORY: asked.from_category,
        }
        found = [
            own,
            _latest(histories.looked, asked.looked_at),
            everybody + np.tile(popular, histories.num_customers),
            *(best_cells(self.score(source), limit) for source, limit in limits.items() if limit),
        ]
        keys = np.sort(np.concatenate(found))  # np.unique hashes, which takes longer
        keys = keys[starts_of_runs(keys)]
        if self.asked.hides_seen:
            seen = np.concatenate([histories.bought.pairs.keys, histories.looked.pairs.keys])
            keys = keys[~np.isin(keys, seen)]
        return keys


def _by_neighbours(block: Block) -> Singles:
    """What customers with like baskets buy, the more alike the more it counts; cosine of TIFU-KNN's vectors."""
    return _votes(block, block.alike, weigh=lambda alike: np.maximum(alike, 0))


def _by_nearest(block: Block) -> Singles:
    """What the customers whose vectors are nearest buy, as TIFU-KNN has it: Euclidean distance, each counts the same."""
    length, alike = lengths_of(basket_vectors(block.histories.bought))[:, None], block.alike
    others = block.known.lengths
    nearness = 2 * alike * length * others - others**2
    nearness[alike < 0] = -np.inf
    return _votes(block, nearness, weigh=np.ones_like)


def _votes(block: Block, nearness: Singles, *, weigh: Callable[[Singles], Singles]) -> Singles:
    num_references = nearness.shape[1]
    most = min(block.asked.settings.neighbours, num_references)
    if most == 0:
        return np.zeros((len(nearness), block.known.num_items), np.float32)
    nearest = np.argpartition(-nearness, most - 1, axis=1)[:, :most]
    weights = weigh(np.take_along_axis(nearness, nearest, axis=1))
    shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    ends = np.arange(0, nearest.size + 1, most)
    voting = sparse.csr_matrix((shares.ravel(), nearest.ravel(), ends), shape=nearness.shape)
    return np.asarray((voting @ block.known.votes).toarray(), np.float32)


def _by_tastes(block: Block) -> Singles:
    """How near each item is to what the customer bought, in the space of the SVD."""
    known = block.known
    return np.asarray(taste_vectors(block.histories.bought, known.rarity) @ known.tastes @ known.tastes.T)


def _by_als(block: Block) -> Singles:
    """The product of factors, the customer's folded in from what was bought; 0 where ALS is left out."""
    known = block.known
    if not known.als.shape[1]:
        return np.zeros((block.histories.num_customers, known.num_items), np.float32)
    own = folded_in(decayed(block.histories.bought), known.als, block.asked.settings)
    return np.asarray(own @ known.als.T)


def _by_category(block: Block) -> Singles:
    """How much of what the customer buys is of the item's category, times how much of the category's sales it has of late."""
    known, bought = block.known, block.histories.bought
    of_category = np.bincount(known.categories, weights=known.facts["item_recent_days"])
    in_category = known.facts["item_recent_days"] / np.maximum(1, of_category)[known.categories]
    lines = np.zeros((bought.num_customers, len(of_category)))
    np.add.at(lines, (bought.customers, known.categories[bought.items]), 1)
    shares = lines / np.maximum(1, lines.sum(axis=1, keepdims=True))
    return np.asarray(shares[:, known.categories] * in_category, np.float32)


SCORED_BY: Mapping[str, Callable[[Block], Singles]] = {
    NEIGHBOURS: _by_neighbours,
    NEAREST: _by_nearest,
    WITH: lambda block: (decayed(block.histories.bought) @ block.known.bought_with).toarray(),
    NEXT: lambda block: (decayed(block.histories.bought) @ block.known.bought_next).toarray(),
    TASTES: _by_tastes,
    ALS: _by_als,
    OF_CATEGORY: _by_category,
}


def best_cells(scores: Singles, count: int) -> Ints:
    """Of each row the `count` largest that are above 0, as row x columns + column; ties to the lower column."""
    rows, _, columns = top_k.best_cells(scores, min(count, scores.shape[1]), above=0)
    keys: Ints = rows * scores.shape[1] + columns
    return keys


def _best_of_rows(matrix: Any, count: int) -> Ints:
    """As `best_cells`, of a sparse matrix."""
    entries = matrix.tocoo()
    order = np.lexsort((entries.col, -entries.data, entries.row))
    rows = entries.row[order].astype(np.int64)
    kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < count
    keys: Ints = rows * matrix.shape[1] + entries.col[order]
    chosen: Ints = keys[kept]
    return chosen


def _latest(lines: Lines, count: int) -> Ints:
    """Each customer's pairs with the latest lines."""
    pairs = lines.pairs
    customers, ages = lines.customers[pairs.starts], lines.ages[pairs.starts]
    order = np.lexsort((pairs.keys, ages, customers))
    ordered = customers[order]
    keys: Ints = pairs.keys[order][np.arange(len(order)) - np.searchsorted(ordered, ordered) < count]
    return keys


def _features(block: Block, keys: Ints, customers: Ints, items: Ints) -> dict[str, Floats]:
    known, bought = block.known, block.histories.bought
    features: dict[str, Floats] = {name: known.facts[name][items] for name in ITEM_FEATURES}
    features |= {source: block.score(source)[customers, items] for source in SOURCES}
    features |= _of_pairs(bought, keys, customers, items, known, block.asked.recent_days)
    features |= _of_looks(block.histories.looked, keys, block.asked.recent_days)
    features |= _of_customers(bought, customers, block.asked.recent_days)
    features |= _of_categories(bought, customers, items, features["age"], known.categories, block.asked.recent_days)
    taste = taste_vectors(bought, known.rarity) @ known.tastes
    features["taste"] = np.einsum("nd,nd->n", np.asarray(taste)[customers], known.tastes[items])
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


def _of_looks(looked: Lines, keys: Ints, recent_days: int) -> dict[str, Floats]:
    pairs = looked.pairs
    at, is_looked = pairs.find(keys)

    def of(values: Floats, other: float) -> Floats:
        return np.where(is_looked, values[at], other) if len(values) else np.full(len(keys), other)

    return {
        "looks": of(pairs.num_lines, 0.0),
        "look_age": of(looked.ages[pairs.starts].astype(float), np.nan),
        "looks_recent": of(pairs.sums(looked.ages <= recent_days), 0.0),
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
        nothing = np.full(len(asked), np.nan)
        return dict.fromkeys(CATEGORY_FEATURES, nothing)
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
