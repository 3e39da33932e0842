"""What all recommenders share: a list per customer, of items that they know by name or by index."""

from abc import abstractmethod
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.known_items import indexed_items, other_item
from clm_spark.models.surfaces.lists import num_candidates
from clm_spark.models.task import Inputs, Model
from clm_spark.settings import Settings
from clm_spark.tables.catalog import ITEM_VOCABULARY
from clm_spark.tables.contract import Table

LONGEST_MEASURED = 20


class Recommender(Model):
    """Its answers have customer_id, rank, item_id, relevance and a `reason` in words."""

    task = "recommendation"

    @abstractmethod
    def lists(self, path: str, inputs: Inputs, *, length: int) -> DataFrame:
        """A row per customer and rank, up to `length`: for customers of `inputs.rows`, or also for others who took to an item."""

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """Lists as long as they are measured; where seen items are hidden, as long as those that are served.

        What a recommender does not know to be seen is taken out later, and its own next items move up.
        """
        settings, length = inputs.settings, list_length(inputs.settings)
        if settings.recommend.hide_seen:
            length = max(length, num_candidates(settings))
        return self.lists(path, inputs, length=length)

    def explain(self, path: str, inputs: Inputs, *, outcome: str) -> DataFrame:
        """Lists that the rules of the surfaces choose from."""
        return self.lists(path, inputs, length=num_candidates(inputs.settings))


class IndexedRecommender(Recommender):
    """A trained recommender that knows items by their index in gold.item_vocabulary, which `save_items` writes beside it."""

    inputs: ClassVar[tuple[Table, ...]] = (ITEM_VOCABULARY,)

    def with_item(self, lists: DataFrame, inputs: Inputs, *, reason: str) -> DataFrame:
        """Lists by index as lists by item, each item for the same `reason`."""
        named = lists.join(indexed_items(inputs), on="item_index", how="inner")
        return named.select("customer_id", "rank", "item_id", "relevance", F.lit(reason).alias("reason"))

    def differs(self, path: str, inputs: Inputs) -> str | None:
        """Whether an index that the model knows stands for another item by now."""
        return other_item(path, inputs)


class RecommenderRule(Recommender):
    """A recommender without training."""

    is_rule = True

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Nothing is trained."""


def list_length(settings: Settings) -> int:
    """Items of a list that is measured."""
    return max(settings.recommend.top_k, LONGEST_MEASURED)
