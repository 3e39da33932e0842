"""Batches of a rank's sequences: the same ones whatever the number of ranks, made ahead by a thread of their own."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clm_spark.models.transformer.data import OF_EACH_EVENT, Bools, Events, Floats, Ints, Shard, pad

BLUR = 0.05  # of a length, so that an epoch does not put the same customers together as the one before
GOLDEN_RATIO = 0.6180339887498949  # its multiples less their whole parts lie far from each other
READ_AHEAD = 4  # batches


@dataclass(frozen=True)
class Batch:
    """Customers side by side, padded at the end with zeros.

    `events` customers x length x 4; `candidates` customers x width: the distinct items of each customer, and `places`
    where the item of each event stands among them; `positions` customers x steps: the events after which a prediction
    is asked, those of them that `is_asked` in truth; `is_wanted` customers x length: the events that answer it.
    """

    events: Ints
    candidates: Ints
    places: Ints
    positions: Ints
    is_asked: Bools
    is_wanted: Bools


@dataclass(frozen=True)
class Question:
    """What a sequence is asked: after `share` of its items, but `steps` at most, which come among the next `horizon`.

    Of events of the kind with the number `kind`; None: of every kind.
    """

    steps: int
    horizon: int = 1
    share: float = 1.0
    kind: int | None = None

    def num_asked(self, possible: Ints) -> Ints:
        """How many predictions are asked of each sequence in which so many could be."""
        num: Ints = np.minimum(self.steps, np.ceil(self.share * possible)).astype(np.int64)
        return num


@dataclass(frozen=True)
class Epoch:
    """One pass over a rank's customers: those of about the same length together, the batches in random order.

    A batch of all ranks together holds about `batch_size` customers. Predictions are asked after random items of each
    sequence, as `question` says: neighbouring steps teach nearly the same. Sequences that nothing can be asked of teach
    nothing and are left out. The same `seed` and `number` give the same batches, whatever the number of ranks, whose
    arrays `total` adds up.
    """

    shard: Shard
    batch_size: int
    question: Question
    seed: int
    number: int
    total: Callable[[Ints], Ints]

    @cached_property
    def num_batches(self) -> int:
        """As many on every rank: an exchange that one rank skips never ends."""
        return max(1, -(-int(self._lengths_of_all.sum()) // self.batch_size))

    @cached_property
    def num_asked(self) -> Ints:
        """Predictions asked of all ranks, by batch in the order in which they come."""
        asked = np.zeros(self.num_batches, np.int64)
        for possible, members in zip(self._possible, self._members, strict=True):
            asked += [int(self.question.num_asked(possible[some]).sum()) for some in members]
        return self.total(asked[self._order])

    def __iter__(self) -> Iterator[Batch]:
        randoms = [part.random(self.seed, self.number, 1) for part in self.shard.parts]
        wanted = [part.is_wanted(self.question.kind) for part in self.shard.parts]
        for batch in self._order:
            each = zip(self.shard.parts, self._members, randoms, self._can_be_asked, wanted, strict=True)
            asked = [
                _Asked(part[n], possible[part.place(n)], answers[part.place(n)], random)
                for part, members, random, possible, answers in each
                for n in members[batch]
            ]
            # A rank without customers in this batch asks nothing: it must take part in every step.
            yield _batch(asked or [_nobody()], self.question)

    @cached_property
    def _order(self) -> Ints:
        return np.random.default_rng([self.seed, self.number]).permutation(self.num_batches)

    @cached_property
    def _can_be_asked(self) -> list[Bools]:
        """By part, of each event whether a prediction can be asked after it."""
        question = self.question
        return [part.can_be_asked(question.kind, question.horizon) for part in self.shard.parts]

    @cached_property
    def _possible(self) -> list[Ints]:
        """By part, after how many events of each customer that is."""
        counts = (np.append(0, np.cumsum(possible)) for possible in self._can_be_asked)
        return [np.diff(count[part.starts]) for part, count in zip(self.shard.parts, counts, strict=True)]

    @cached_property
    def _by_length(self) -> list[tuple[Ints, Ints]]:
        """By part, who is usable, the shortest sequences first, and how long these are, give or take a little: in half items."""
        ordered = []
        for part, possible in zip(self.shard.parts, self._possible, strict=True):
            usable = np.flatnonzero(possible)
            blurred = 2 * part.lengths[usable] * _noise(part.lengths[usable], part.random(self.seed, self.number))
            order = np.argsort(blurred)
            ordered.append((usable[order], np.rint(blurred[order]).astype(np.int64)))
        return ordered

    @cached_property
    def _lengths_of_all(self) -> Ints:
        """How many customers of all ranks have which blurred length."""
        most = int(2 * (1 + BLUR) * self.shard.max_length) + 2
        return self.total(np.bincount(np.concatenate([lengths for _, lengths in self._by_length]), minlength=most))

    @cached_property
    def _members(self) -> list[list[Ints]]:
        """Customers by part and batch: each stands at a place among all by length.

        Those of a part that are of one length stand at even distances, and those of other parts between them: where parts
        are alike, each rank has about as many customers of a batch as the others, and none waits long for them.
        """
        of_all = self._lengths_of_all
        num_customers = max(1, int(of_all.sum()))
        shorter = np.cumsum(of_all) - of_all
        members = []
        for part, (usable, lengths) in zip(self.shard.parts, self._by_length, strict=True):
            first, after = (np.searchsorted(lengths, lengths, side) for side in ("left", "right"))
            shares = (np.arange(len(lengths)) - first + (0.5 + part.number * GOLDEN_RATIO) % 1) / (after - first)
            places = shorter[lengths] + shares * of_all[lengths]
            batches = (places / num_customers * self.num_batches).astype(np.int64)
            members.append(np.split(usable, np.searchsorted(batches, np.arange(1, self.num_batches))))
        return members


def _noise(lengths: Ints, random: np.random.Generator) -> Floats:
    """From 1 - BLUR to 1 + BLUR, for those of one length at even distances in random order: alike in parts that are alike."""
    order = np.lexsort((random.random(len(lengths)), lengths))
    first, after = (np.searchsorted(lengths[order], lengths, side) for side in ("left", "right"))
    places = np.empty(len(lengths))
    places[order] = np.arange(len(lengths))
    noise: Floats = 1 - BLUR + 2 * BLUR * (places - first + 0.5) / (after - first)
    return noise


def read_ahead(batches: Iterable[Batch], ahead: int = READ_AHEAD) -> Iterator[Batch]:
    """The same batches, made by a thread of their own while the model works on those before."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(ahead)
    is_over = threading.Event()

    def put(made: Batch | BaseException | None) -> None:
        while not is_over.is_set():
            with suppress(queue.Full):
                ready.put(made, timeout=0.1)
                return

    def make() -> None:
        try:
            for batch in batches:
                put(batch)
                if is_over.is_set():
                    return
            put(None)
        except BaseException as error:  # the reader raises it
            put(error)

    threading.Thread(target=make, daemon=True).start()
    try:
        while (made := ready.get()) is not None:
            if isinstance(made, BaseException):
                raise made
            yield made
    finally:
        is_over.set()


@dataclass(frozen=True)
class _Asked:
    """A customer's events, after which of them a prediction can be asked, which ones answer, and what draws among them."""

    events: Events
    can_be_asked: Bools
    is_wanted: Bools
    random: np.random.Generator


def _nobody() -> _Asked:
    return _Asked(
        np.zeros((2, OF_EACH_EVENT), np.int32), np.array([True, False]), np.zeros(2, np.bool_), np.random.default_rng(0)
    )


def _batch(asked_of: list[_Asked], question: Question) -> Batch:
    length = max(len(each.events) for each in asked_of)
    possible = [np.flatnonzero(each.can_be_asked) for each in asked_of]
    nums_asked = question.num_asked(np.array([len(places) for places in possible]))
    distinct = [np.unique(each.events[:, 0], return_inverse=True) for each in asked_of]
    positions = np.zeros((len(asked_of), nums_asked.max()), dtype=np.int64)
    is_asked = np.zeros(positions.shape, dtype=np.bool_)
    for row, (each, places, num_asked) in enumerate(zip(asked_of, possible, nums_asked.tolist(), strict=True)):
        is_each = num_asked == len(places)
        chosen = places if is_each else places[each.random.choice(len(places), num_asked, replace=False)]
        positions[row] = chosen[0]  # where fewer are asked than of others: an encoder must mask nothing for nobody
        positions[row, :num_asked] = chosen
        is_asked[row, :num_asked] = each.events[0, 0] > 0
    return Batch(
        events=pad([each.events for each in asked_of], length),
        candidates=pad([items for items, _ in distinct], max(len(items) for items, _ in distinct)),
        places=pad([places for _, places in distinct], length),
        positions=positions,
        is_asked=is_asked,
        is_wanted=pad([each.is_wanted for each in asked_of], length).astype(np.bool_),
    )
