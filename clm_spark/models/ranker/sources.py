"""A block of customers, and what each source of candidates gives every item for them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from clm_spark.models.ranker.als_source import folded_in
from clm_spark.models.ranker.knowledge import (
    Knowledge,
    basket_vectors,
    decayed,
    lengths_of,
    scaled_to_one,
    taken_to,
    taste_vectors,
)
from clm_spark.models.ranker.lines import Histories, Singles, histories_of
from clm_spark.models.ranker.scores import (
    BLOCK_CELLS,
    CategoryScores,
    DenseScores,
    Scores,
    is_mostly_nothing,
    scores_of,
)
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.ranker.transformer_source import expected_next
from clm_spark.models.transformer.settings import TransformerSettings

FEWEST_CUSTOMERS, MOST_CUSTOMERS = 16, 512  # of a block

NEIGHBOURS, NEAREST, WITH, NEXT, TASTES = "neighbours", "nearest", "bought_with", "bought_next", "tastes"
ALS, OF_CATEGORY, CONTENT, TRANSFORMER = "als", "of_category", "content", "transformer"
SOURCES = (NEIGHBOURS, NEAREST, WITH, NEXT, ALS, OF_CATEGORY, CONTENT, TRANSFORMER)


def limits_with(settings: CandidateSettings) -> dict[str, int]:
    """How many candidates each source gives a customer; without the sources that are left out."""
    limits = {
        NEIGHBOURS: settings.from_neighbours,
        NEAREST: settings.from_neighbours,
        WITH: settings.from_items,
        NEXT: settings.from_items,
        ALS: settings.from_als,
        OF_CATEGORY: settings.from_category,
        CONTENT: settings.from_content,
        TRANSFORMER: settings.from_transformer,
    }
    return {source: limits[source] for source in SOURCES if limits[source]}


@dataclass(frozen=True)
class CandidateOptions:
    """How candidates are made, beside what is known of the items."""

    settings: CandidateSettings
    recent_days: int
    hides_seen: bool = False
    transformer: TransformerSettings = field(default_factory=TransformerSettings)


def blocks_of(batches: Iterable[pa.RecordBatch], known: Knowledge, asked: CandidateOptions) -> Iterator["Block"]:
    """The rows of all batches in blocks of which an array of customers x items fits into memory."""
    most = min(max(BLOCK_CELLS // max(1, known.num_items), FEWEST_CUSTOMERS), MOST_CUSTOMERS)
    for batch in batches:
        for start in range(0, batch.num_rows, most):
            rows = batch.slice(start, most)
            histories = histories_of(rows, num_items=known.num_items, longest=asked.settings.longest_history)
            yield Block(rows, histories, known, asked)


class Block:
    """A few hundred customers: their histories, and every source's scores."""

    def __init__(self, rows: pa.RecordBatch, histories: Histories, known: Knowledge, asked: CandidateOptions) -> None:
        self.rows, self.histories, self.known, self.asked = rows, histories, known, asked
        self.scores: dict[str, Scores] = {}

    def score(self, source: str) -> Scores:
        """What the source gives each customer for items."""
        if source not in self.scores:
            self.scores[source] = SCORED_BY[source](self)
        return self.scores[source]

    @cached_property
    def taken(self) -> Any:
        """Customers x items: what each took to, purchases and looks."""
        return taken_to(self.histories, self.asked.settings)

    @cached_property
    def alike(self) -> Singles:
        """Customers x customers of reference: cosine of their baskets' vectors; -1 with themselves."""
        known, histories = self.known, self.histories
        vectors, items = scaled_to_one(basket_vectors(histories.bought)), np.unique(histories.bought.items)
        # A product with a dense matrix, of the block's items alone: customers of reference share popular items with nearly everybody.
        alike = np.ascontiguousarray((known.references[items].T.tocsr() @ vectors[:, items].toarray().T).T)
        if alike.shape[1]:
            places = np.minimum(np.searchsorted(known.reference_keys, histories.customer_keys), alike.shape[1] - 1)
            own = np.flatnonzero(known.reference_keys[places] == histories.customer_keys)
            alike[own, places[own]] = -1
        return alike


def _by_neighbours(block: Block) -> Scores:
    """What customers with like baskets buy, the more alike the more it counts; cosine of TIFU-KNN's vectors."""
    return _votes(block, block.alike, weigh=lambda alike: np.maximum(alike, 0))


def _by_nearest(block: Block) -> Scores:
    """What the customers whose vectors are nearest buy, as TIFU-KNN has it: Euclidean distance, each counts the same.

    The customer's own vector does not count, be the customers of reference as few as they may.
    """
    length, alike = lengths_of(basket_vectors(block.histories.bought))[:, None], block.alike
    others = block.known.lengths
    nearness = 2 * alike * length * others - others**2
    nearness[alike < 0] = -np.inf
    return _votes(block, nearness, weigh=lambda near: np.isfinite(near).astype(np.float32))


def _votes(block: Block, nearness: Singles, *, weigh: Callable[[Singles], Singles]) -> Scores:
    num_references = nearness.shape[1]
    most = min(block.asked.settings.neighbours, num_references)
    if most == 0:
        return scores_of(sparse.csr_matrix((len(nearness), block.known.num_items), dtype=np.float32))
    nearest = np.argpartition(-nearness, most - 1, axis=1)[:, :most]
    weights = weigh(np.take_along_axis(nearness, nearest, axis=1))
    shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    ends = np.arange(0, nearest.size + 1, most)
    voting = sparse.csr_matrix((shares.ravel(), nearest.ravel(), ends), shape=nearness.shape)
    return scores_of(voting @ block.known.votes)


def without_noise(products: Any) -> Singles:
    """Products of vectors to six digits: where they are 0, sums leave some 1e-9 of either sign, by which trees would decide.

    Which, hangs on the order of the sums: on the number of threads, or on where a file lies.
    """
    rounded: Singles = np.asarray(products, np.float32).round(6)
    return rounded


def _by_tastes(block: Block) -> Scores:
    """How near each item is to what the customer bought, in the space of the SVD."""
    known = block.known
    return DenseScores(
        without_noise(taste_vectors(block.histories.bought, known.rarity) @ known.tastes @ known.tastes.T)
    )


def _by_als(block: Block) -> Scores:
    """The product of factors, the customer's folded in from what was bought and looked at."""
    known = block.known
    own = folded_in(block.taken, known.als, block.asked.settings)
    return DenseScores(without_noise(own @ known.als.T))


def _by_category(block: Block) -> Scores:
    """How much of what the customer takes to is of the item's category, times how much of the category's sales it has of late."""
    known, histories = block.known, block.histories
    lines = np.zeros((histories.num_customers, known.num_categories))
    for some, weight in ((histories.bought, 1.0), (histories.looked, block.asked.settings.look_weight)):
        np.add.at(lines, (some.customers, known.categories[some.items]), weight)
    shares = (lines / np.maximum(lines.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)
    scores = CategoryScores(shares, known.categories, known.in_category, *known.sellers)
    num_looked_at = int(np.count_nonzero(shares)) * block.asked.settings.from_category  # for the best, at most
    if is_mostly_nothing(num_looked_at, num_cells=len(shares) * known.num_items):
        return scores
    return DenseScores(np.take(shares, known.categories, axis=1) * known.in_category)


def _by_content(block: Block) -> Scores:
    """How near the text of each item is to those of what the customer bought or looked at, by cosine."""
    contents = block.known.contents
    taken = np.asarray(block.taken @ contents)
    lengths = np.linalg.norm(taken, axis=1, keepdims=True)
    return DenseScores(without_noise(taken / np.maximum(lengths, np.float32(1e-12)) @ contents.T))


def _by_transformer(block: Block) -> Scores:
    """What a transformer expects to come next."""
    files = block.known.transformer
    assert files is not None  # `knowledge_at` trains it where this source is asked for
    return DenseScores(expected_next(files, block.histories.bought))


SCORED_BY: Mapping[str, Callable[[Block], Scores]] = {
    NEIGHBOURS: _by_neighbours,
    NEAREST: _by_nearest,
    WITH: lambda block: scores_of(decayed(block.histories.bought) @ block.known.bought_with),
    NEXT: lambda block: scores_of(decayed(block.histories.bought) @ block.known.bought_next),
    TASTES: _by_tastes,
    ALS: _by_als,
    OF_CATEGORY: _by_category,
    CONTENT: _by_content,
    TRANSFORMER: _by_transformer,
}
