"""What is trained, and what came of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clm_spark.errors import ModelError
from clm_spark.models.transformer.batches import Question
from clm_spark.models.transformer.data import Ints
from clm_spark.models.transformer.settings import TransformerSettings

PURCHASE = "purchase"


class TrainingError(ModelError):
    """A training that failed; the message is that of the rank that did."""


@dataclass(frozen=True)
class ItemFacts:
    """What is known of items beside their index, as arrays by item index; `listed` are indices."""

    listed: Ints | None = None  # of the items that lists may show; None: all of them
    categories: Ints | None = None  # 1 to NUM_CATEGORIES; 0: none
    texts: NDArray[np.float16] | None = None  # vectors, of length 1; 0: none
    tokens: NDArray[np.int32] | None = None  # of texts whose encoder is trained along; 0: none

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """Those that there are."""
        return [array for array in (self.listed, self.categories, self.texts, self.tokens) if array is not None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained on whichever sequences; the model in `start_from` is fine-tuned.

    `kinds` are those of the sequences' events. `epochs` passes ask for every event and then
    `purchase_epochs` for purchases alone; where there are such, validation asks for the last purchase. Where `hides_seen`, validation looks for the next item among those not in
    the sequence, as lists do; whose next item is in it does not validate.
    """

    num_items: int
    settings: TransformerSettings
    epochs: int
    purchase_epochs: int = 0
    kinds: tuple[str, ...] = ()
    items: ItemFacts = field(default_factory=ItemFacts, repr=False)
    hides_seen: bool = False
    vocabulary_version: int | None = None
    start_from: Mapping[str, bytes] | None = field(default=None, repr=False)

    def question(self, *, of_purchases: bool) -> Question:
        """What an epoch asks."""
        settings = self.settings
        share = settings.masked_share if settings.attention == "both_sides" else 1.0
        return Question(settings.steps, settings.horizon, share, self.purchase if of_purchases else None)

    @property
    def patience(self) -> int | None:
        """That of the settings; none where a model is fine-tuned, which learns from all sequences."""
        return None if self.start_from is not None else self.settings.patience

    @property
    def purchase(self) -> int | None:
        """The number of the kind that is asked for in the end, where it is purchases alone."""
        return 1 + self.kinds.index(PURCHASE) if self.purchase_epochs else None


@dataclass(frozen=True, kw_only=True)
class TrainingTask(Training):
    """All that a rank must know; it travels to every worker.

    `checkpoints` is a folder that every rank can reach, as delta-rs names it and with the same `storage_options` as
    the table; None: no epoch is kept. With `since` only customers with events of that day or later are trained on.
    `code` names the version of the code: a checkpoint of another one is not resumed.
    """

    location: str
    table_id: str = ""
    version: int
    as_of: date
    since: date | None = None
    code: str = ""
    checkpoints: str | None = None
    storage_options: Mapping[str, str] | None = field(default=None, repr=False)  # may hold keys

    @property
    def name(self) -> str:
        """Names what is trained: a checkpoint of another data version, model or setting is not resumed."""
        asked = self.settings.model_dump_json(exclude={"launcher", "ranks"})
        parts = [
            self.location, self.table_id, self.version, self.as_of, self.since, self.code, self.num_items,
            self.epochs, self.purchase_epochs, self.kinds, self.hides_seen, asked,
        ]  # fmt: skip
        digest = hashlib.sha256("\n".join(map(str, parts)).encode())
        for file in (self.start_from or {}).values():
            digest.update(file)
        for array in self.items.arrays:
            digest.update(array.tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training: mean loss per epoch over all ranks, items read per second by all of them together.

    `ndcgs` are those of validation, by epoch, and `best_epoch` the one, from 1 on, whose weights were kept: the last
    one without validation. `stall_share` is the share of the time in which rank 0 waited for data. `files` are the
    model's, for the driver to write: ranks may see no folder that others see.
    """

    losses: tuple[float, ...]
    ndcgs: tuple[float, ...]
    best_epoch: int
    seconds: float
    items_per_second: float
    stall_share: float
    num_sequences: int
    ranks: int
    device: str
    precision: str
    weights_sha256: str
    files: Mapping[str, bytes] = field(repr=False)
