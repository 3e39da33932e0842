"""The training loop. It gets its rank and what averages gradients, and knows nothing of who launched it."""

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from clm_spark.models.transformer.data import Batch, Shard, batches, read_shard
from clm_spark.models.transformer.losses import next_items_loss
from clm_spark.models.transformer.network import NextItemModel, model_from_files, new_model
from clm_spark.models.transformer.settings import TransformerSettings

WARM_UP_STEPS = 50
LAST_RATE = 0.05  # of the learning rate, where its cosine ends
MEMORY_RATE = 5  # the memories' weights and speeds are a handful of logarithms with far to go
LARGEST_GRADIENT = 1.0


class Ranks(Protocol):
    """The processes that train together; every method is called by all of them, in the same order."""

    rank: int
    size: int
    device: torch.device

    def average(self, tensor: Tensor) -> None:
        """Put the mean over all ranks into the tensor."""

    def broadcast(self, tensor: Tensor) -> None:
        """Put rank 0's values into the tensor."""


class OneRank:
    """This process alone."""

    rank = 0
    size = 1

    def __init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def average(self, tensor: Tensor) -> None:
        """The tensor is its own mean."""

    def broadcast(self, tensor: Tensor) -> None:
        """Nobody listens."""


@dataclass(frozen=True)
class TrainingTask:
    """All that a rank must know; it travels to every worker, the model in `start_from` with it."""

    location: str
    version: int
    as_of: date
    num_items: int
    settings: TransformerSettings
    epochs: int
    start_from: Mapping[str, bytes] | None = field(default=None, repr=False)
    storage_options: Mapping[str, str] | None = field(default=None, repr=False)  # may hold keys


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training: mean loss per epoch over all ranks, items read per second by all of them together.

    `files` are the model's, for the driver to write: ranks may see no folder that others see.
    """

    losses: tuple[float, ...]
    seconds: float
    items_per_second: float
    num_sequences: int
    ranks: int
    device: str
    weights_sha256: str
    files: Mapping[str, bytes] = field(repr=False)


def train(task: TrainingTask, ranks: Ranks) -> TrainingResult:
    """Train on this rank's part of the sequences.

    Every rank ends with the same weights, which is checked. Raises `ContractError` when there is nothing to train on.
    """
    started = time.monotonic()
    settings = task.settings
    shard = read_shard(
        task.location,
        task.version,
        as_of=task.as_of,
        rank=ranks.rank,
        ranks=ranks.size,
        max_length=settings.max_length,
        storage_options=task.storage_options,
    )
    model = _starting_model(task, shard, ranks)
    torch.manual_seed(settings.seed + ranks.rank)
    random = np.random.default_rng([settings.seed, ranks.rank])
    optimizer = _optimizer(model, settings)
    steps_in_all = task.epochs * shard.num_batches(settings.batch_size)
    losses, step, seen = [], 0, 0
    for _ in range(task.epochs):
        total = torch.zeros(2, dtype=torch.float64)
        for batch in batches(shard, batch_size=settings.batch_size, steps=settings.steps, random=random):
            _set_rate(optimizer, settings.learning_rate * _rate(step, steps_in_all))
            negatives = random.permutation(task.num_items)[: settings.negatives] + 1
            loss = _step(model, batch, negatives, settings, optimizer, ranks)
            total += torch.tensor([loss, 1.0], dtype=torch.float64)
            step, seen = step + 1, seen + int((batch.items > 0).sum())
        ranks.average(total)
        losses.append(float(total[0] / total[1]))
    seconds = time.monotonic() - started
    return TrainingResult(
        losses=tuple(losses),
        seconds=seconds,
        items_per_second=seen * ranks.size / seconds,
        num_sequences=shard.num_sequences,
        ranks=ranks.size,
        device=ranks.device.type,
        weights_sha256=_same_weights(model, ranks),
        files=model.to_files(),
    )


def _starting_model(task: TrainingTask, shard: Shard, ranks: Ranks) -> NextItemModel:
    torch.manual_seed(task.settings.seed)
    counts = torch.bincount(torch.from_numpy(shard.items), minlength=task.num_items + 1).double()
    ranks.average(counts)
    if task.start_from is None:
        model = new_model(task.num_items, task.settings)
        model.set_popularity(counts)
    else:
        known = model_from_files(task.start_from)
        model = known.grow(task.num_items)
        model.set_popularity(counts, first=known.num_items + 1)
    model = model.to(ranks.device).train()
    for weights in model.parameters():
        ranks.broadcast(weights.data)
    return model


def _optimizer(model: NextItemModel, settings: TransformerSettings) -> torch.optim.AdamW:
    memory = [model.fading, *model.repeat_weight.parameters()]
    others = [*model.decoder.parameters(), model.popularity]
    groups = [
        {"params": others, "rate": 1, "weight_decay": settings.weight_decay},
        {"params": memory, "rate": MEMORY_RATE, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _rate(step: int, steps_in_all: int) -> float:
    """The share of the learning rate: a linear warm-up, then a cosine."""
    warm = min(1.0, (step + 1) / min(WARM_UP_STEPS, max(1, steps_in_all // 5)))
    return warm * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps_in_all)))


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def _step(
    model: NextItemModel,
    batch: Batch,
    negatives: np.ndarray[tuple[int], np.dtype[np.int64]],
    settings: TransformerSettings,
    optimizer: torch.optim.Optimizer,
    ranks: Ranks,
) -> float:
    tensors = {name: torch.from_numpy(array).to(ranks.device) for name, array in vars(batch).items()}
    with torch.autocast(ranks.device.type, torch.bfloat16, enabled=ranks.device.type == "cuda"):
        loss = next_items_loss(
            model, **tensors, negatives=torch.from_numpy(negatives).to(ranks.device), horizon=settings.horizon
        )
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    _average_gradients(model, ranks)
    torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
    optimizer.step()
    return float(loss.detach())


def _average_gradients(model: NextItemModel, ranks: Ranks) -> None:
    """One exchange for all gradients: many small ones cost more than the bytes do."""
    if ranks.size == 1:
        return
    gradients = [weights.grad for weights in model.parameters() if weights.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    ranks.average(flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, averaged in zip(gradients, parts, strict=True):
        gradient.copy_(averaged.view_as(gradient))


def _same_weights(model: NextItemModel, ranks: Ranks) -> str:
    """The SHA-256 of the weights, once rank 0 is known to have the same."""
    digest = hashlib.sha256()
    for weights in model.state_dict().values():
        digest.update(weights.cpu().contiguous().numpy().tobytes())
    mine = torch.tensor(list(digest.digest()), dtype=torch.int64)
    of_rank_0 = mine.clone()
    ranks.broadcast(of_rank_0)
    if not torch.equal(mine, of_rank_0):
        raise RuntimeError(f"rank {ranks.rank} ended with other weights than rank 0: the exchange of gradients failed")
    return digest.hexdigest()
