"""Ranks as threads of this process that take turns: each runs alone until it exchanges something."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property

import torch

from clm_spark.models.transformer.batches import Epoch

SECONDS_OF_A_TURN = 20


class _Exchange:
    """What all ranks gave, and whose turn it is."""

    def __init__(self, size):
        self.size, self.turn, self.given, self.changed = size, 0, {}, threading.Condition()

    def wait(self, rank):
        with self.changed:
            assert self.changed.wait_for(lambda: self.turn == rank, SECONDS_OF_A_TURN), "another rank has failed"

    def pass_on(self):
        with self.changed:
            self.turn = (self.turn + 1) % self.size
            self.changed.notify_all()


class RankInTurn:
    def __init__(self, rank, exchange):
        self.rank, self.size, self.device = rank, exchange.size, torch.device("cpu")
        self.exchange, self.num_exchanges = exchange, 0

    def _all(self, tensor):
        given = self.exchange.given.setdefault(self.num_exchanges, [])
        self.num_exchanges += 1
        given.append(tensor.detach().clone())
        self.exchange.pass_on()
        self.exchange.wait(self.rank)
        return given

    def average(self, tensor):
        tensor.copy_(torch.stack(self._all(tensor)).mean(dim=0))

    def broadcast(self, tensor):
        tensor.copy_(self._all(tensor)[0])

    def prepare(self, loss, optimizer):
        return loss, optimizer

    def step(self, optimizer, clip):
        for group in optimizer.param_groups:
            for weights in group["params"]:
                self.average(weights.grad)
        clip()
        optimizer.step()


def train_in_turn(size, train):
    """What `train(rank)` gives for each of so many ranks."""
    exchange = _Exchange(size)
    for each in vars(Epoch).values():
        if isinstance(each, cached_property):
            each.lock = nullcontext()  # Python 3.11 lets one thread at a time into a property, whosever it is

    def run(rank):
        exchange.wait(rank)
        try:
            return train(RankInTurn(rank, exchange))
        finally:
            exchange.pass_on()

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(run, range(size)))
