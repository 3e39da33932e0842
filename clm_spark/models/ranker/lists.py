"""Lists of a morning: what is known of the items then, and every customer's best by a scorer."""

from collections.abc import Callable

import numpy as np
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.ranker.content import content_at
from clm_spark.models.ranker.histories import histories_at, numbered_items
from clm_spark.models.ranker.knowledge import Knowledge, numbered
from clm_spark.models.ranker.learned import Scorer, knowledge_at, ranked
from clm_spark.models.ranker.lines import Ints
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.ranker.sources import CandidateOptions
from clm_spark.models.task import Inputs
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.settings import Settings

HISTORIES, KNOWLEDGE = "ranker.histories", "ranker.knowledge"


def candidate_options(settings: Settings) -> CandidateOptions:
    """How the settings want candidates made."""
    recommend = settings.recommend
    transformer = settings.of(TransformerSettings)
    return CandidateOptions(settings.of(CandidateSettings), recommend.test_days, recommend.hide_seen, transformer)


def known_at(inputs: Inputs) -> Broadcast[Knowledge]:
    """What is known of the items on the morning of `inputs`: worked out once for all who ask with the same inputs."""
    if KNOWLEDGE not in inputs.held:
        categories = categories_of(inputs)
        contents = content_at(inputs, num_items=len(categories))
        known = knowledge_at(_histories(inputs), categories, candidate_options(inputs.settings), contents)
        return inputs.sent(known, KNOWLEDGE)
    found = inputs.held[KNOWLEDGE]
    assert isinstance(found, Broadcast)
    return found


def lists_by(scorer: Callable[[], Scorer], inputs: Inputs, *, length: int) -> DataFrame:
    """A row per customer of `inputs.rows` and rank, up to `length`, by the scores of `scorer()`, called once per task."""
    of_them = _histories(inputs).join(inputs.rows.select("customer_id").distinct(), on="customer_id", how="left_semi")
    lists = ranked(of_them, known_at(inputs), candidate_options(inputs.settings), scorer=scorer, top_k=length)
    items = numbered_items(inputs).select("item_index", "item_id")
    by_item = lists.join(F.broadcast(items), on="item_index", how="inner")
    return by_item.select("customer_id", "rank", "item_id", "relevance", "reason")


def _histories(inputs: Inputs) -> DataFrame:
    """Those of the morning, gathered once: what is known of the items and every list are made from them."""
    return inputs.cached(HISTORIES, lambda: histories_at(inputs, [inputs.as_of]))


def categories_of(inputs: Inputs) -> Ints:
    """A number for the category of each of `numbered_items`; bounded by `recommend.max_items`."""
    rows = numbered_items(inputs).select("item_index", F.coalesce("category", F.lit(""))).toArrow()
    index, names = (column.to_numpy() for column in rows.columns)
    categories = np.zeros(int(index.max(initial=0)) + 1, np.int64)
    categories[index] = numbered(names)
    return categories
