"""Items that each customer of a block might buy: of every source its best. Cost is linear in customers."""

from dataclasses import dataclass

import numpy as np

from clm_spark.models.ranker.features import features_of
from clm_spark.models.ranker.knowledge import basket_vectors
from clm_spark.models.ranker.lines import Ints, Lines, Singles, starts_of_runs
from clm_spark.models.ranker.scores import SparseScores
from clm_spark.models.ranker.sources import Block, limits_with
from clm_spark.models.top_k import best_of


@dataclass(frozen=True)
class Candidates:
    """Rows by customer and item; `customers` are rows of the batch, `features` rows x `features_with`."""

    customers: Ints
    items: Ints
    features: Singles


def candidates_of(block: Block) -> Candidates:
    """Of every source its best, each pair once."""
    keys = keys_of(block)
    num_items = block.known.num_items
    return Candidates(keys // num_items, keys % num_items, features_of(block, keys))


def keys_of(block: Block) -> Ints:
    """The candidates, as row of the block x items + item, in order."""
    asked, histories, num_items = block.asked.settings, block.histories, block.known.num_items
    own = SparseScores(basket_vectors(histories.bought)).best(asked.own)
    popular = block.known.popular
    everybody = np.repeat(np.arange(histories.num_customers), len(popular)) * num_items
    found = [
        own,
        _latest(histories.looked, asked.looked_at),
        everybody + np.tile(popular, histories.num_customers),
        *(block.score(source).best(limit) for source, limit in limits_with(asked).items()),
    ]
    keys = np.sort(np.concatenate(found))  # np.unique hashes, which takes longer
    keys = keys[starts_of_runs(keys)]
    if block.asked.hides_seen:
        seen = np.concatenate([histories.bought.pairs.keys, histories.looked.pairs.keys])
        keys = keys[~np.isin(keys, seen)]
    return keys


def _latest(lines: Lines, count: int) -> Ints:
    """Each customer's pairs with the latest lines."""
    pairs = lines.pairs
    customers, ages = lines.customers[pairs.starts], lines.ages[pairs.starts]
    chosen, _ = best_of(customers, pairs.keys, -ages, count)
    keys: Ints = pairs.keys[chosen]
    return keys
