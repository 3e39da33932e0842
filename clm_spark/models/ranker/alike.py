"""Recommenders that follow from who bought what, without learning from what came of it: neighbours, SVD and NMF."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pyspark.sql import DataFrame

from clm_spark.models.ranker import transformer_source
from clm_spark.models.ranker.knowledge import basket_vectors
from clm_spark.models.ranker.learned import Scored, Scorer
from clm_spark.models.ranker.lines import Singles
from clm_spark.models.ranker.lists import known_at, lists_by
from clm_spark.models.ranker.scores import DenseScores, Scores
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.ranker.sources import NEIGHBOURS, TASTES, Block
from clm_spark.models.recommender import RecommenderRule
from clm_spark.models.task import Inputs
from clm_spark.settings import Section, Seed
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, EVENTS, ITEM_VOCABULARY

MODULES = (
    *transformer_source.MODULES,
    *(
        f"clm_spark.models.ranker.{name}"
        for name in (
            "als_source",
            "candidates",
            "content",
            "features",
            "histories",
            "knowledge",
            "learned",
            "lines",
            "lists",
            "scores",
            "settings",
            "sources",
            "truncated_svd",
        )
    ),
    *(
        "clm_spark.models.als_blocks",
        "clm_spark.models.als_numpy",
        "clm_spark.models.item_texts",
        "clm_spark.models.top_k",
    ),
)


class OfOneSource(RecommenderRule):
    """The items that one source of candidates scores highest, all for the same `reason`."""

    source: ClassVar[str]
    reason: ClassVar[str]
    section = CandidateSettings
    inputs = (CUSTOMER_ITEM_DAYS, ITEM_VOCABULARY, EVENTS)
    uses = MODULES

    def lists(self, path: str, inputs: Inputs, *, length: int) -> DataFrame:
        """A row per customer of `inputs.rows` and rank, best first."""
        source, reason = self.source, self.reason
        return lists_by(lambda: by_scores(lambda block: block.score(source), length, reason), inputs, length=length)


class UserNeighbours(OfOneSource):
    """What the customers buy whose baskets are most like one's own, each by how alike they are.

    TIFU-KNN's vectors (Hu, He, Gao and Zhang 2020), compared by cosine, among a bounded sample of customers.
    """

    name = "user_neighbours"
    words = "user neighbours"
    source = NEIGHBOURS
    reason = "bought by customers whose baskets are alike"


class Svd(OfOneSource):
    """The items nearest to what the customer bought in the space of a truncated SVD of who bought what.

    PureSVD (Cremonesi, Koren and Turrin 2010) of a bounded sample of customers, rare items and late baskets weighted up.
    """

    name = "svd"
    words = "SVD"
    is_optional = True
    source = TASTES
    reason = "near what the customer buys, by who buys what"


class NmfSettings(Section):
    """Non-negative matrix factorisation of who bought what."""

    key: ClassVar[str] = "nmf"
    dimensions: Annotated[int, Field(ge=1)] = 32
    iterations: Annotated[int, Field(ge=1)] = 30
    seed: Seed = 7


class Nmf(RecommenderRule):
    """The items of the groups that the customer's purchases are made of (Lee and Seung 1999).

    Factors of a bounded sample of customers by scikit-learn; each customer's weights are found by non-negative least
    squares on the workers.
    """

    name = "nmf"
    words = "NMF"
    is_optional = True
    section = NmfSettings
    inputs = (CUSTOMER_ITEM_DAYS, ITEM_VOCABULARY, EVENTS)
    uses = MODULES

    def lists(self, path: str, inputs: Inputs, *, length: int) -> DataFrame:
        """A row per customer of `inputs.rows` and rank, best first."""
        settings = inputs.settings.of(NmfSettings)
        groups = groups_of_items(known_at(inputs).value.votes, settings)
        sent = inputs.sent(groups)
        reason = "of a group of items that the customer buys from"

        def scorer() -> Scorer:
            return by_scores(lambda block: in_groups(block, sent.value, settings.iterations), length, reason)

        return lists_by(scorer, inputs, length=length)


def groups_of_items(customers: Any, settings: NmfSettings) -> Singles:
    """Groups x items, no weight below 0, from rows of customers x items."""
    from sklearn.decomposition import NMF

    dimensions = min(settings.dimensions, *customers.shape)

    def fitted(start: str) -> Singles:
        model = NMF(dimensions, init=start, max_iter=settings.iterations, random_state=settings.seed, tol=1e-3)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(model.fit(customers).components_, np.float32)

    groups = fitted("nndsvda")
    # The start by SVD divides by 0 where customers differ in fewer ways than there are groups.
    return groups if np.isfinite(groups).all() else fitted("random")


def in_groups(block: Block, groups: Singles, iterations: int) -> Scores:
    """What the groups that come nearest to the customer's purchases have of each item."""
    from sklearn.decomposition import non_negative_factorization

    bought = basket_vectors(block.histories.bought)
    weights, _, _ = non_negative_factorization(
        bought, H=groups, n_components=len(groups), init="custom", update_H=False, max_iter=iterations, tol=1e-3
    )
    return DenseScores(np.asarray(weights @ groups, np.float32))


def by_scores(score_block: Callable[[Block], Scores], length: int, reason: str) -> Scorer:
    """Scores items by a source, the `length` best of each customer that are above 0."""

    def score(block: Block) -> Scored:
        scores = score_block(block)
        if block.asked.hides_seen:
            histories = block.histories
            scores = scores.without(np.union1d(histories.bought.pairs.keys, histories.looked.pairs.keys))
        keys = np.sort(scores.best(length))
        rows, items = keys // block.known.num_items, keys % block.known.num_items
        return Scored(rows, items, scores.at(rows, items), lambda chosen: [reason] * len(chosen))

    return score
