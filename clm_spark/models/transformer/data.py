"""Item sequences for training: each rank reads its own rows of a pinned Delta version, straight from the files."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from numpy.typing import NDArray
from pyarrow import dataset

from clm_spark.errors import ContractError

Ints = NDArray[np.int64]
Events = NDArray[np.int64]  # n x 3, oldest first: item index, number of the kind, number of the time gap

UNKNOWN = 0  # the number of a kind or gap that is not known; padding has it, too
NUM_GAPS = (
    20  # 1: under a minute after the event before, 2: under three, 3: under seven, and so on; the last: a year or more
)
NUM_CATEGORIES = 4096  # numbers of item categories, by hash: a category keeps its number, and a few share one
MICROSECONDS_PER_MINUTE = 60_000_000


# The customers are cut into this many parts whatever the number of ranks, and every batch takes some of each part: so
# that a batch of all ranks together holds the same customers on one rank as on two or five.
NUM_PARTS = 16
SHORTEST_VALIDATED = 3  # a sequence whose last item is kept for validation must still teach something
SHORTEST_TAUGHT = 2
BLUR = 0.05  # of a length, so that an epoch does not put the same customers together as the one before
READ_AHEAD = 4  # batches


@dataclass(frozen=True)
class Part:
    """Some customers: the sequence of the n-th is `events[starts[n]:starts[n + 1]]`."""

    number: int
    events: Events
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, n: int) -> Events:
        return self.events[self.starts[n] : self.starts[n + 1]]

    @property
    def lengths(self) -> Ints:
        """Events per sequence."""
        return np.diff(self.starts)

    def random(self, seed: int, *more: int) -> np.random.Generator:
        """The part's own random numbers, the same on whichever rank it is."""
        return np.random.default_rng([seed, self.number, *more])

    def split(self, share: float, seed: int) -> tuple["Part", "Part"]:
        """The part without the last item of a random `share` of its customers, and these customers as they are."""
        chosen = (self.random(seed).random(len(self)) < share) & (self.lengths >= SHORTEST_VALIDATED)
        is_kept = np.ones(len(self.events), dtype=np.bool_)
        is_kept[self.starts[1:][chosen] - 1] = False
        is_validated = np.repeat(chosen, self.lengths)
        return (
            Part(self.number, self.events[is_kept], _starts(self.lengths - chosen)),
            Part(self.number, self.events[is_validated], _starts(self.lengths[chosen])),
        )


@dataclass(frozen=True)
class Shard:
    """One rank's parts of the customers; `num_sequences` counts those of all ranks."""

    parts: tuple[Part, ...]
    num_sequences: int
    max_length: int

    def counts(self, num_items: int) -> Ints:
        """How often each item index stands in the rank's sequences, from 0 to `num_items`."""
        return sum(
            (np.bincount(part.events[:, 0], minlength=num_items + 1) for part in self.parts),
            np.zeros(num_items + 1, np.int64),
        )

    def split(self, share: float, seed: int) -> tuple["Shard", list[Events]]:
        """As `Part.split`: what is trained on, and the whole sequences of the customers who validate."""
        both = [part.split(share, seed) for part in self.parts]
        validated = [kept[n] for _, kept in both for n in range(len(kept))]
        return Shard(tuple(trained for trained, _ in both), self.num_sequences, self.max_length), validated


@dataclass(frozen=True)
class Batch:
    """Customers side by side, padded at the end with zeros.

    `events` customers x length x 3; `candidates` customers x width: the distinct items of each customer, and `places`
    where the item of each event stands among them; `positions` customers x steps: the events after which a prediction
    is asked.
    """

    events: Ints
    candidates: Ints
    places: Ints
    positions: Ints
    is_asked: NDArray[np.bool_]


def read_shard(
    location: str,
    version: int,
    *,
    as_of: date,
    rank: int,
    ranks: int,
    max_length: int,
    kinds: Sequence[str] = (),
    storage_options: Mapping[str, str] | None = None,
) -> Shard:
    """The rank's parts of the rows of `as_of`: a run of rows over the files in the order of their names.

    Only row groups that hold such rows are read, of each sequence only its last `max_length` events are kept. `kinds`
    are numbered from 1 on.
    Raises `ContractError` when the version has no sequences of that day.
    """
    fragments, num_sequences = _files_of_the_day(location, version, as_of, storage_options)
    num_parts = max(NUM_PARTS, ranks)
    first, last = (num_parts * r // ranks for r in (rank, rank + 1))
    bounds = [num_sequences * number // num_parts for number in range(first, last + 1)]
    events, lengths = [np.empty((0, 3), np.int64)], [np.empty(0, np.int64)]
    for rows in _rows(fragments, bounds[0], bounds[-1]):
        of_rows, of_each = events_of(rows, kinds)
        chunk_events, chunk_lengths = _last_events(of_rows, of_each, max_length)
        events.append(chunk_events)
        lengths.append(chunk_lengths)
    return _shard(
        np.concatenate(events), np.concatenate(lengths), range(first, last), bounds, num_sequences, max_length
    )


def shard_of(events: Events, lengths: Ints, *, max_length: int) -> Shard:
    """The only rank's shard, of sequences one after the other that are as long as `lengths` say."""
    events, lengths = _last_events(events, lengths, max_length)
    bounds = [len(lengths) * number // NUM_PARTS for number in range(NUM_PARTS + 1)]
    return _shard(events, lengths, range(NUM_PARTS), bounds, len(lengths), max_length)


def _shard(
    all_events: Events, all_lengths: Ints, numbers: range, bounds: list[int], num_sequences: int, max_length: int
) -> Shard:
    """The parts of these numbers, whose customers stand between `bounds` among all of them."""
    starts = _starts(all_lengths)
    parts = []
    for number, (begin, end) in zip(numbers, pairwise(bound - bounds[0] for bound in bounds), strict=True):
        of_part = slice(starts[begin], starts[end])
        parts.append(Part(number, all_events[of_part], starts[begin : end + 1] - starts[begin]))
    return Shard(tuple(parts), num_sequences, max_length)


def count_sequences(
    location: str, version: int, *, as_of: date, storage_options: Mapping[str, str] | None = None
) -> int:
    """How many customers have a sequence that day, from the files' footers alone. Raises as `read_shard` does."""
    return _files_of_the_day(location, version, as_of, storage_options)[1]


@dataclass(frozen=True)
class Epoch:
    """One pass over a rank's customers: those of about the same length together, the batches in random order.

    A batch of all ranks together holds about `batch_size` customers. Predictions are asked after `steps` random items
    of each sequence: neighbouring steps teach nearly the same. Sequences of one item teach nothing and are left out.
    The same `seed` and `number` give the same batches, whatever the number of ranks, whose arrays `total` adds up.
    """

    shard: Shard
    batch_size: int
    steps: int
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
        for part, members in zip(self.shard.parts, self._members, strict=True):
            asked += [int(np.minimum(self.steps, part.lengths[some] - 1).sum()) for some in members]
        return self.total(asked[self._order])

    def __iter__(self) -> Iterator[Batch]:
        randoms = [part.random(self.seed, self.number, 1) for part in self.shard.parts]
        for batch in self._order:
            each = zip(self.shard.parts, self._members, randoms, strict=True)
            asked = [(part[n], random) for part, members, random in each for n in members[batch]]
            # A rank without customers in this batch asks nothing: it must take part in every step.
            yield _batch(asked or [(np.zeros((2, 3), np.int64), np.random.default_rng(0))], self.steps)

    @cached_property
    def _order(self) -> Ints:
        return np.random.default_rng([self.seed, self.number]).permutation(self.num_batches)

    @cached_property
    def _blurred(self) -> list[tuple[Ints, Ints]]:
        """By part, who is usable and how long the sequences are, give or take a little: in half items."""
        blurred = []
        for part in self.shard.parts:
            usable = np.flatnonzero(part.lengths >= SHORTEST_TAUGHT)
            noise = part.random(self.seed, self.number).uniform(1 - BLUR, 1 + BLUR, len(usable))
            blurred.append((usable, np.rint(2 * part.lengths[usable] * noise).astype(np.int64)))
        return blurred

    @cached_property
    def _lengths_of_all(self) -> Ints:
        """How many customers of all ranks have which blurred length."""
        most = int(2 * (1 + BLUR) * self.shard.max_length) + 2
        return self.total(np.bincount(np.concatenate([lengths for _, lengths in self._blurred]), minlength=most))

    @cached_property
    def _members(self) -> list[list[Ints]]:
        """Customers by part and batch: each stands at a place among all by length, at random among equals."""
        of_all = self._lengths_of_all
        shorter = np.cumsum(of_all) - of_all
        members = []
        for part, (usable, lengths) in zip(self.shard.parts, self._blurred, strict=True):
            places = shorter[lengths] + part.random(self.seed, self.number, 2).random(len(usable)) * of_all[lengths]
            batches = (places / max(1, of_all.sum()) * self.num_batches).astype(np.int64)
            order = np.argsort(batches, kind="stable")
            members.append(np.split(usable[order], np.searchsorted(batches[order], np.arange(1, self.num_batches))))
        return members


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


def events_of(rows: pa.Table | pa.RecordBatch, kinds: Sequence[str]) -> tuple[Events, Ints]:
    """The events of rows of gold.item_sequences one after the other, and how many each row has.

    Kinds and gaps are unknown where the table does not have them, of all rows as soon as one lacks them.
    """
    indices = _column(rows, "item_indices")
    assert indices is not None  # the table's contract
    lengths = indices.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    events = np.zeros((int(lengths.sum()), 3), np.int64)
    events[:, 0] = indices.flatten().to_numpy(zero_copy_only=False)
    of_kinds, of_times = (_column(rows, name) for name in ("kinds", "times"))
    if kinds and of_kinds is not None:
        numbers = pc.index_in(of_kinds.flatten(), pa.array(kinds, of_kinds.type.value_type))
        events[:, 1] = pc.fill_null(pc.add(numbers, 1), UNKNOWN).to_numpy(zero_copy_only=False)
    if of_times is not None:
        at = of_times.flatten().cast(pa.timestamp("us", of_times.type.value_type.tz)).cast(pa.int64()).to_numpy()
        events[:, 2] = gap_numbers(np.diff(at, prepend=0) / MICROSECONDS_PER_MINUTE)
        events[_starts(lengths)[:-1][lengths > 0], 2] = UNKNOWN
    return events, lengths


def gap_numbers(minutes: NDArray[np.floating]) -> Ints:
    """The number of each time gap, from 1 on; each but the last holds twice as long ones as the one before."""
    numbers: Ints = np.minimum(1 + np.floor(np.log2(1 + np.maximum(minutes, 0))), NUM_GAPS).astype(np.int64)
    return numbers


def as_events(items: Sequence[int] | Ints) -> Events:
    """Item indices as events of unknown kinds and gaps; events as they are."""
    given = np.asarray(items, dtype=np.int64)
    if given.ndim == 2:
        return given
    return np.column_stack([given, np.full((len(given), 2), UNKNOWN)])


def pad(sequences: Sequence[Ints], length: int) -> Ints:
    """Sequences as rows, zeros behind."""
    padded = np.zeros((len(sequences), length, *sequences[0].shape[1:]), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return padded


def _batch(asked_of: list[tuple[Events, np.random.Generator]], steps: int) -> Batch:
    sequences = [sequence for sequence, _ in asked_of]
    length = max(map(len, sequences))
    steps = min(steps, length - 1)
    distinct = [np.unique(sequence[:, 0], return_inverse=True) for sequence in sequences]
    positions = np.zeros((len(sequences), steps), dtype=np.int64)
    is_asked = np.zeros((len(sequences), steps), dtype=np.bool_)
    for row, (sequence, random) in enumerate(asked_of):
        possible = len(sequence) - 1
        asked = min(steps, possible)
        positions[row, :asked] = (
            np.arange(asked) if asked == possible else random.choice(possible, asked, replace=False)
        )
        is_asked[row, :asked] = sequence[0, 0] > 0
    return Batch(
        events=pad(sequences, length),
        candidates=pad([items for items, _ in distinct], max(len(items) for items, _ in distinct)),
        places=pad([places for _, places in distinct], length),
        positions=positions,
        is_asked=is_asked,
    )


def _starts(lengths: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _files_of_the_day(
    location: str, version: int, as_of: date, storage_options: Mapping[str, str] | None
) -> tuple[list[Any], int]:
    options = dict(storage_options or {}) or None
    files = DeltaTable(location, version=version, storage_options=options).to_pyarrow_dataset()
    of_the_day = files.get_fragments(filter=dataset.field("as_of") == as_of)
    fragments = sorted(of_the_day, key=lambda fragment: str(fragment.path))
    num_sequences = sum(fragment.count_rows() for fragment in fragments)
    if not num_sequences:
        raise ContractError(
            f"no item sequences as of {as_of} in version {version} of {location}: run build_interactions for that day"
        )
    return fragments, num_sequences


def _rows(fragments: list[Any], first: int, last: int) -> Iterator[pa.Table]:
    """The rows first to last, counted over all fragments."""
    at = 0
    for fragment in fragments:
        columns = [name for name in ("item_indices", "kinds", "times") if name in fragment.physical_schema.names]
        for group in fragment.row_groups:
            begin, end = max(first, at), min(last, at + group.num_rows)
            if begin < end:
                rows = fragment.subset(row_group_ids=[group.id]).to_table(columns=columns)
                yield rows.slice(begin - at, end - begin)
            at += group.num_rows


def _column(rows: pa.Table | pa.RecordBatch, name: str) -> pa.ListArray | None:
    """A column of lists; None where it is not there or a row has none."""
    if name not in rows.schema.names:
        return None
    column = rows[name].combine_chunks() if isinstance(rows, pa.Table) else rows[name]
    return None if column.null_count else column


def _last_events(events: Events, lengths: Ints, max_length: int) -> tuple[Events, Ints]:
    """The last events of each sequence, and how many there are."""
    from_end = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(events))
    return events[from_end <= max_length], np.minimum(lengths, max_length)
