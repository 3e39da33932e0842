"""The processes that train together, as the training loop sees them; `launch.py` has those of Horovod and torch."""

import threading
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# A process trains one network at a time: they share torch's random numbers, and a launcher changes the environment and the
# output of the process, and fills Spark's task slots.
one_at_a_time = threading.Lock()


class Ranks(Protocol):
    """The processes that train together; every method is called by all of them, in the same order."""

    rank: int
    size: int
    device: torch.device

    def average(self, tensor: Tensor) -> None:
        """Put the mean over all ranks into the tensor."""

    def broadcast(self, tensor: Tensor) -> None:
        """Put rank 0's values into the tensor."""

    def prepare(self, loss: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """The same two, whose gradients are averaged over all ranks."""

    def step(self, optimizer: Optimizer, clip: Callable[[], None]) -> None:
        """Take a step by the averaged gradients, which `clip` bounds."""


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

    def prepare(self, loss: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """As they are."""
        return loss, optimizer

    def step(self, optimizer: Optimizer, clip: Callable[[], None]) -> None:
        """Take a step."""
        clip()
        optimizer.step()
