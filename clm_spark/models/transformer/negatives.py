"""Items that training holds each batch against, and how likely each was to be drawn."""

import numpy as np
from numpy.typing import NDArray

from clm_spark.models.transformer.data import Ints
from clm_spark.models.transformer.settings import TransformerSettings


class Negatives:
    """Which items each batch is held against: the same on every rank, drawn anew for each step.

    Some are drawn uniformly, some by how often items were taken: as likely as they would be met among the other items
    of a batch (in-batch negatives), but whatever the number of ranks. An item is drawn once at most. Uniform ones are
    drawn among those that are `listed` or were taken: an item that no list may show need not be told from others.
    """

    def __init__(self, counts: Ints, settings: TransformerSettings, listed: Ints | None = None) -> None:
        self.num_items = len(counts) - 1
        wanted = settings.negatives
        self.is_all = wanted == 0 or wanted >= self.num_items
        self.num_frequent = 0 if self.is_all else round(wanted * settings.frequent_negatives)
        self.possible = np.arange(self.num_items)
        if listed is not None:
            self.possible = np.union1d(listed, np.flatnonzero(counts)) - 1
        self.num_uniform = min(wanted - self.num_frequent, len(self.possible))
        shares = counts[1:] / max(counts[1:].sum(), 1)
        self.up_to = np.cumsum(shares)
        uniform = np.zeros(self.num_items)
        uniform[self.possible] = self.num_uniform / len(self.possible)
        never = (1 - uniform) * (1 - shares) ** self.num_frequent if not self.is_all else 0.0
        # An item that cannot be drawn is never looked up.
        self.log_chance = np.log(np.maximum(1 - never, 1e-12) * np.ones(self.num_items)).astype(np.float32)

    def draw(self, random: np.random.Generator) -> tuple[Ints, NDArray[np.float32]]:
        """Item indices, each once, and the logarithm of the chance that each had."""
        if self.is_all:
            drawn = np.arange(self.num_items)
        else:
            drawn = random.choice(self.possible, self.num_uniform, replace=False, shuffle=False)
            if self.num_frequent:
                frequent = np.searchsorted(self.up_to, random.random(self.num_frequent)).clip(max=self.num_items - 1)
                drawn = np.union1d(drawn, frequent)
        return drawn + 1, self.log_chance[drawn]
