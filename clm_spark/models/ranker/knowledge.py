"""What the shop knows of its items on a morning: facts of each, which go together, and customers to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from clm_spark.models.ranker.als_source import item_vectors
from clm_spark.models.ranker.lines import Bools, Floats, Histories, Ints, Lines, Singles, starts_of_runs
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.ranker.transformer_source import Files
from clm_spark.models.ranker.truncated_svd import truncated_svd
from clm_spark.models.top_k import best_of

LARGEST_BASKET = 100  # lines of a basket that pairs are counted of
FADES = {"within": 0.9, "across": 0.7}  # TIFU-KNN's decays of baskets within a group, and of groups
GROUPS = 7
BASKETS_FADE = 0.8  # of the pairs of items: a basket ago counts this much less
TASTES_FADE = 0.95
DAMPING = 10.0  # buyers that a rare item is taken to have more
PRODUCTS = 2_000_000  # of pairs of items, made at once: some 100 MB

SUMS = (
    "buyer_days", "recent_buyer_days", "last_buyer_days", "buyers", "repeat_buyers", "owners", "returned",
    "gap_days", "gaps", "kept", "could_be_kept", "units", "spent",
)  # fmt: skip


@dataclass(frozen=True)
class Knowledge:
    """Arrays by item index. `facts` are per item; `bought_with` and `bought_next` are items x items.

    Customers of reference are columns of `references`, of length 1, and rows of `votes`, in the order of their keys.
    """

    facts: dict[str, Singles]
    categories: Ints
    popular: Ints  # the best by purchases, ever and of late
    reference_keys: Ints  # sorted
    references: Any
    votes: Any
    lengths: Singles  # of the rows of `votes`
    bought_with: Any
    bought_next: Any
    tastes: Singles  # items x dimensions
    als: Singles  # items x rank; without a column where no candidates are taken from it
    contents: Singles  # items x dimensions of their texts; without a column where no candidates are taken from it
    rarity: Singles
    transformer: Files | None = None  # the network's files, where candidates are taken from it

    @property
    def num_items(self) -> int:
        """Items that have an index."""
        return len(self.categories)

    @cached_property
    def num_categories(self) -> int:
        """They are numbered from 0."""
        return int(self.categories.max(initial=0)) + 1

    @cached_property
    def in_category(self) -> Singles:
        """Of each item, how much of its category's sales it has of late."""
        recent = self.facts["item_recent_days"]
        of_category = np.bincount(self.categories, weights=recent)
        return (recent / np.maximum(1, of_category)[self.categories]).astype(np.float32)

    @cached_property
    def sellers(self) -> tuple[Ints, Ints]:
        """The items by category, what sells best of late first, and where each category begins and the last one ends."""
        order = np.lexsort((np.arange(self.num_items), -self.in_category, self.categories))
        sizes = np.bincount(self.categories, minlength=self.num_categories)
        return order, np.append(0, np.cumsum(sizes))


def item_sums(bought: Lines, *, recent_days: int) -> dict[str, Floats]:
    """Per item, what adds up over customers; `first_age` does not: it is the largest."""
    pairs, items = bought.pairs, bought.items[bought.pairs.starts]
    latest, oldest = bought.ages[pairs.starts], bought.ages[pairs.ends]

    def count(of_pairs: Floats | Bools) -> Floats:
        return np.bincount(items, weights=of_pairs, minlength=bought.num_items).astype(float)

    had = oldest > recent_days
    first_age = np.zeros(bought.num_items)
    np.maximum.at(first_age, items, oldest)
    # Of the baskets that another followed, those whose item was in the next one, too.
    place = bought.places
    follows = np.append(np.diff(place) == 1, False) if len(place) else np.zeros(0, bool)
    is_kept = np.zeros(len(bought), bool)
    is_kept[1:] = follows[:-1] & bought.is_repeat[1:]
    return {
        "buyer_days": bought.of_items(np.ones(len(bought))),
        "recent_buyer_days": bought.of_items(bought.ages <= recent_days),
        "last_buyer_days": bought.of_items(bought.ages <= max(1, recent_days // 4)),
        "buyers": count(np.ones(len(items))),
        "repeat_buyers": count(pairs.num_lines > 1),
        "owners": count(had),
        "returned": count(had & (latest <= recent_days)),
        "gap_days": bought.of_items(bought.gaps),
        "gaps": bought.of_items(bought.is_repeat),
        "kept": bought.of_items(is_kept),
        "could_be_kept": bought.of_items(place > 0),
        "units": bought.of_items(bought.units),
        "spent": bought.of_items(bought.spent),
        "first_age": first_age,
    }


def facts_of(sums: dict[str, Floats]) -> dict[str, Singles]:
    """What trees are told of an item."""
    with np.errstate(divide="ignore", invalid="ignore"):
        facts = {
            "item_days": sums["buyer_days"],
            "item_recent_days": sums["recent_buyer_days"],
            "item_last_days": sums["last_buyer_days"],
            "item_trend": sums["recent_buyer_days"] / (sums["buyer_days"] + 5),
            "item_buyers": sums["buyers"],
            "item_repeat_share": sums["repeat_buyers"] / (sums["buyers"] + 5),
            "item_returned_share": (sums["returned"] + 0.2) / (sums["owners"] + 5),
            "item_kept_share": sums["kept"] / (sums["could_be_kept"] + 5),
            "item_gap_days": np.where(sums["gaps"] > 0, sums["gap_days"] / sums["gaps"], np.nan),
            "item_first_age": sums["first_age"],
            "price": np.where(sums["units"] > 0, sums["spent"] / sums["units"], np.nan),
        }
    return {name: values.astype(np.float32) for name, values in facts.items()}


def knowledge_of(
    sums: dict[str, Floats],
    categories: Ints,
    references: Histories,
    *,
    settings: CandidateSettings,
    contents: Singles | None = None,
    transformer: Files | None = None,
) -> Knowledge:
    """From sums over all customers and the histories of those of reference, in the order of their keys."""
    nothing, bought = np.zeros((len(categories), 0), np.float32), references.bought
    facts, votes = facts_of(sums), basket_vectors(bought)
    popular = np.union1d(
        _most(sums["buyer_days"], settings.popular), _most(sums["recent_buyer_days"], settings.popular)
    )
    rarity = np.log((1 + bought.num_customers) / (1 + bought.of_items(~bought.is_repeat)))
    kept = settings.neighbours_per_item
    return Knowledge(
        facts,
        categories,
        popular,
        references.customer_keys,
        scaled_to_one(votes).T.tocsr(),
        votes,
        lengths_of(votes),
        bought_with(bought, kept=kept),
        bought_next(bought, kept=kept),
        _tastes(bought, rarity, settings),
        item_vectors(taken_to(references, settings), settings) if settings.from_als else nothing,
        nothing if contents is None else contents,
        rarity.astype(np.float32),
        transformer,
    )


def basket_vectors(bought: Lines) -> Any:
    """TIFU-KNN's vector of each customer (Hu, He, Gao and Zhang 2020): items by how recent their baskets are.

    The baskets are cut into at most seven groups of one size, the latest first; a basket fades within its group, the
    groups fade against each other, and each is divided by how many it holds. Customers x items.
    """
    num_baskets, place = bought.num_baskets[bought.customers], bought.places
    size = -(-num_baskets // GROUPS)
    group, within = place // size, place % size
    weights = FADES["within"] ** within / np.minimum(size, num_baskets - group * size)
    return bought.matrix(weights * FADES["across"] ** group / -(-num_baskets // size)).astype(np.float32)


def decayed(bought: Lines) -> Any:
    """Customers x items: a purchase counts less with every basket after it."""
    return bought.matrix(BASKETS_FADE**bought.places).astype(np.float32)


def taken_to(histories: Histories, settings: CandidateSettings) -> Any:
    """Customers x items: purchases and looks, of which a look counts `look_weight`; tastes last, so they fade slowly."""
    bought, looked = (lines.matrix(TASTES_FADE**lines.places) for lines in (histories.bought, histories.looked))
    return (bought + settings.look_weight * looked).astype(np.float32)


def lengths_of(rows: Any) -> Singles:
    """The Euclidean length of each row."""
    return np.sqrt(np.bincount(_row_of_each(rows), rows.data**2, minlength=rows.shape[0])).astype(np.float32)


def scaled_to_one(rows: Any) -> Any:
    """Rows divided by their length; empty ones stay."""
    scaled = rows.data / np.maximum(lengths_of(rows), np.float32(1e-12))[_row_of_each(rows)]
    return sparse.csr_matrix((scaled, rows.indices, rows.indptr), shape=rows.shape)


def _row_of_each(rows: Any) -> Ints:
    """The row of each entry of a sparse matrix."""
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))


def taste_vectors(bought: Lines, rarity: Singles) -> Any:
    """Customers x items, what is rare counts more: the rows that the truncated SVD is of."""
    return scaled_to_one(bought.matrix(TASTES_FADE**bought.places * rarity[bought.items]).astype(np.float32))


def bought_with(bought: Lines, *, kept: int) -> Any:
    """Items x items: in how many baskets both were, large baskets less, over the root of either's: a cosine, damped."""
    baskets = _basket_items(bought)
    size = np.asarray(baskets.sum(axis=1)).ravel()
    weighted = (sparse.diags((1 / np.sqrt(np.maximum(size, 1))).astype(np.float32)) @ baskets).tocsr()
    root = (1 / np.sqrt(np.asarray(baskets.sum(axis=0)).ravel() + DAMPING)).astype(np.float32)
    return _pruned(weighted, weighted, before=root, after=root, kept=kept)


def bought_next(bought: Lines, *, kept: int) -> Any:
    """Items x items: of the baskets with the row's item that another followed, the share with the column's in the next."""
    baskets, of = _basket_items(bought), bought.basket_customers
    # A customer's latest basket stands first.
    earlier = np.flatnonzero(np.append(False, of[1:] == of[:-1])) if len(of) else np.zeros(0, np.int64)
    before, after = baskets[earlier], baskets[earlier - 1]
    share = (1 / (np.asarray(before.sum(axis=0)).ravel() + DAMPING)).astype(np.float32)
    return _pruned(before, after, before=share, after=np.ones_like(share), kept=kept)


def _basket_items(bought: Lines) -> Any:
    """Baskets x items, 1 where the item is in it; of a very large basket some items."""
    order = np.argsort(bought.baskets, kind="stable")
    starts = starts_of(bought.baskets[order])
    is_kept = np.arange(len(order)) - starts < LARGEST_BASKET
    chosen = order[is_kept]
    ones = np.ones(len(chosen), np.float32)
    shape = (len(bought.basket_customers), bought.num_items)
    return sparse.csr_matrix((ones, (bought.baskets[chosen], bought.items[chosen])), shape=shape)


def starts_of(values: Ints) -> Ints:
    """For each of the sorted values, where its run begins."""
    return np.searchsorted(values, values, side="left")


def _pruned(left: Any, right: Any, *, before: Singles, after: Singles, kept: int) -> Any:
    """The `kept` largest of each row of left' right, rows and columns weighted, without an item's own; by blocks of rows."""
    num_items, columns = left.shape[1], left.tocsc()
    # How many products are made before each row: a block ends by them, for each costs as much again as there are items.
    made = np.concatenate([[0], np.cumsum(np.diff(right.indptr)[columns.indices], dtype=np.int64)])[columns.indptr]
    starts = starts_of_runs(made[:-1] // PRODUCTS)
    blocks = []
    for start, stop in zip(starts, [*starts[1:], num_items], strict=False):
        block = (columns[:, start:stop].T.tocsr() @ right).tocoo()
        is_other = block.row + start != block.col
        row, column = block.row[is_other], block.col[is_other]
        value = block.data[is_other] * before[row + start] * after[column]
        best, _ = best_of(row, column, value, kept)
        shape = (stop - start, num_items)
        blocks.append(sparse.csr_matrix((value[best], (row[best], column[best])), shape=shape))
    return sparse.vstack(blocks, format="csr").astype(np.float32) if blocks else sparse.csr_matrix((0, 0))


def _tastes(references: Lines, rarity: Floats, settings: CandidateSettings) -> Singles:
    """Items x dimensions: the right singular vectors of the reference customers' rows; none of a shop too small."""
    rows = taste_vectors(references, rarity.astype(np.float32))
    if rows.nnz == 0:
        return np.zeros((references.num_items, 0), np.float32)
    _, _, right = truncated_svd(rows, settings.tastes, seed=settings.seed)
    return np.ascontiguousarray(right.T, dtype=np.float32)


def _most(values: Floats, count: int) -> Ints:
    """The items of the largest values above 0, ties to the lower index."""
    best = np.argsort(-values, kind="stable")[:count]
    return best[values[best] > 0]


def numbered(names: Sequence[str]) -> Ints:
    """Whole numbers for names in their order, the same name the same number."""
    # As objects: an array of text gives each name the room of the longest.
    return np.unique(np.asarray(names, dtype=object), return_inverse=True)[1].astype(np.int64)
