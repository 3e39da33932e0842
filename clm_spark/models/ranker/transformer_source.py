"""The transformer as a source of candidates: trained on the purchases of the customers of reference, asked on the workers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clm_spark.errors import ModelError, UserError, in_a_line
from clm_spark.models.ranker.lines import Ints, Lines, Singles
from clm_spark.signals import raise_if_stopped

Files = Mapping[str, bytes]
MODULES = (
    __name__,
    *(
        f"clm_spark.models.transformer.{name}"
        for name in (
            "adapters",
            "batches",
            "data",
            "text_encoder",
            "losses",
            "negatives",
            "network",
            "score",
            "settings",
            "task",
            "train",
        )
    ),
)
MINUTES_PER_DAY = 24 * 60
SCATTER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that different numbers stay different


def trained(bought: Lines, settings: Any) -> Files:
    """The files of a network trained in this process by `TransformerSettings`. Raises `ModelError` without torch.

    Its item indices are the lines' plus one. Of the settings, those that need more than purchases do nothing here:
    `purchase_epochs`, `item_categories`, `item_text`.
    """
    try:
        from clm_spark.models.transformer.data import shard_of
        from clm_spark.models.transformer.ranks import OneRank, one_at_a_time
        from clm_spark.models.transformer.task import Training
        from clm_spark.models.transformer.train import train_on
    except ImportError as error:
        raise ModelError(
            f"the transformer cannot be a source of candidates: {error}; install the train extra "
            "(make setup EXTRA=train), or leave it out: --set candidates.from_transformer=0"
        ) from None
    events, lengths = sequences_of(bought)
    shard = shard_of(events, lengths[lengths > 0], max_length=settings.max_length + 1)
    plan = Training(num_items=bought.num_items, settings=settings, epochs=settings.epochs)
    try:
        with one_at_a_time:
            raise_if_stopped()  # while it waited
            return train_on(shard, plan, OneRank(), show=lambda _: raise_if_stopped()).files
    except UserError:
        raise
    except Exception as error:  # torch has many of its own, such as for memory and for compilers that are not there
        raise ModelError(f"the transformer cannot be a source of candidates: {in_a_line(error)}") from error


def expected_next(files: Files, bought: Lines) -> Singles:
    """Customers x items: the chance that the network gives each to come next; 0 without a purchase."""
    import torch

    from clm_spark.models.transformer.score import digest_of, opened_once, score_all

    torch.set_num_threads(1)  # a task is a core's
    model = opened_once(digest_of(files), lambda: files)
    events, lengths = sequences_of(bought)
    of_each = np.split(events, np.cumsum(lengths)[:-1])
    known = np.flatnonzero(lengths)
    found = np.zeros((bought.num_customers, bought.num_items), np.float32)
    if len(known):
        last = [of_each[row][-model.max_length :] for row in known]
        found[known] = score_all(model, last).softmax(dim=1).numpy()
    return found


def sequences_of(bought: Lines) -> tuple[NDArray[np.int32], Ints]:
    """Purchases as the network's events, oldest first, and how many each customer has.

    Those of a day stand in an order of chance that is always the same: by item they would teach the order of numbers.
    """
    from clm_spark.models.transformer.data import UNKNOWN, gap_numbers

    mixed = (bought.items.astype(np.uint64) + bought.ages.astype(np.uint64) * np.uint64(1_000_003)) * SCATTER
    order = np.lexsort((mixed, -bought.ages, bought.customers))
    customers, ages = bought.customers[order], bought.ages[order]
    lengths = np.bincount(customers, minlength=bought.num_customers)
    gaps = gap_numbers(-np.diff(ages, prepend=0) * MINUTES_PER_DAY)
    gaps[np.cumsum(lengths)[lengths > 0] - lengths[lengths > 0]] = UNKNOWN
    unknown = np.full(len(order), UNKNOWN)
    return np.column_stack([bought.items[order] + 1, unknown, gaps, unknown]).astype(np.int32), lengths
