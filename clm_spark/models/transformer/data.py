"""Item sequences for training: each rank reads its own rows of a pinned Delta version, straight from the files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
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
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
# n x 4, oldest first: item index, and the numbers of the kind, of the time gap and of the price band. A rank holds those
# of all its customers: 16 bytes an event.
Events = NDArray[np.int32]
OF_EACH_EVENT = 4

UNKNOWN = 0  # the number of a kind, gap or band that is not known; padding has it, too
NUM_GAPS = (
    20  # 1: under a minute after the event before, 2: under three, 3: under seven, and so on; the last: a year or more
)
NUM_BANDS = (
    48  # of prices: 1 for nothing, each holds prices 1.41 times those of the one before; the last: 118,000.00 or more
)
NUM_CATEGORIES = 4096  # numbers of item categories, by hash: a category keeps its number, and a few share one
MICROSECONDS_PER_MINUTE = 60_000_000


# The customers are cut into this many parts whatever the number of ranks, and every batch takes some of each part: so
# that a batch of all ranks together holds the same customers on one rank as on two or five.
NUM_PARTS = 16
SHORTEST_VALIDATED = 3  # a sequence whose last item is kept for validation must still teach something


@dataclass(frozen=True)
class Part:
    """Some customers: the sequence of the n-th is `events[starts[n]:starts[n + 1]]`."""

    number: int
    events: Events
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, n: int) -> Events:
        return self.events[self.place(n)]

    def place(self, n: int) -> slice:
        """Where the n-th sequence is among the events."""
        return slice(self.starts[n], self.starts[n + 1])

    @property
    def lengths(self) -> Ints:
        """Events per sequence."""
        return np.diff(self.starts)

    def random(self, seed: int, *more: int) -> np.random.Generator:
        """The part's own random numbers, the same on whichever rank it is."""
        return np.random.default_rng([seed, self.number, *more])

    def is_wanted(self, kind: int | None) -> Bools:
        """Of each event, whether it is one of the kind with this number; None: of any kind."""
        return np.ones(len(self.events), np.bool_) if kind is None else self.events[:, 1] == kind

    def can_be_asked(self, kind: int | None, horizon: int) -> Bools:
        """Of each event, whether one of the next `horizon` of the customer is wanted."""
        num_events = len(self.events)
        wanted = np.where(self.is_wanted(kind), np.arange(num_events), num_events)
        next_wanted = np.append(np.minimum.accumulate(wanted[::-1])[::-1], num_events)[1:]
        ends = np.repeat(self.starts[1:], self.lengths)
        return next_wanted < np.minimum(ends, np.arange(num_events) + horizon + 1)

    def split(self, share: float, seed: int, kind: int | None = None) -> tuple["Part", "Part"]:
        """The part without the last event of `kind` of a random `share` of its customers, and these customers up to it.

        What came after that event is in neither.
        """
        wanted = np.where(self.is_wanted(kind), np.arange(len(self.events)), -1)
        owner = np.repeat(np.arange(len(self)), self.lengths)
        last = np.full(len(self), -1)
        np.maximum.at(last, owner, wanted)
        before = last - self.starts[:-1]  # events that stand before it
        chosen = (self.random(seed).random(len(self)) < share) & (before >= SHORTEST_VALIDATED - 1)
        place = np.arange(len(self.events)) - self.starts[:-1][owner]
        kept = np.where(chosen, before, self.lengths)
        validated = np.where(chosen, before + 1, 0)
        return (
            Part(self.number, self.events[place < kept[owner]], starts_of(kept)),
            Part(self.number, self.events[place < validated[owner]], starts_of(validated[chosen])),
        )


@dataclass(frozen=True)
class Shard:
    """One rank's parts of the customers."""

    parts: tuple[Part, ...]
    max_length: int

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def counts(self, num_items: int) -> Ints:
        """How often each item index stands in the rank's sequences, from 0 to `num_items`."""
        return sum(
            (np.bincount(part.events[:, 0], minlength=num_items + 1) for part in self.parts),
            np.zeros(num_items + 1, np.int64),
        )

    def split(self, share: float, seed: int, kind: int | None = None) -> tuple["Shard", list[Events]]:
        """As `Part.split`: what is trained on, and the sequences of the customers who validate, up to what is asked."""
        both = [part.split(share, seed, kind) for part in self.parts]
        validated = [kept[n] for _, kept in both for n in range(len(kept))]
        return Shard(tuple(trained for trained, _ in both), self.max_length), validated


def read_shard(
    location: str,
    version: int,
    *,
    as_of: date,
    rank: int,
    ranks: int,
    max_length: int,
    kinds: Sequence[str] = (),
    since: date | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> Shard:
    """The rank's parts of the rows of `as_of`: a run of rows over the files in the order of their names.

    With `since` only those of customers whose last event is of that day or later, or of unknown time.

    Only row groups that hold such rows are read, of each sequence only its last `max_length` events are kept. `kinds`
    are numbered from 1 on.
    Raises `ContractError` when the version has no sequences of that day.
    """
    fragments, num_sequences = _files_of_the_day(location, version, as_of, storage_options)
    num_parts = max(NUM_PARTS, ranks)
    first, last = (num_parts * r // ranks for r in (rank, rank + 1))
    bounds = [num_sequences * number // num_parts for number in range(first, last + 1)]
    chunks: dict[int, list[tuple[Events, Ints]]] = {number: [] for number in range(first, last)}
    for rows, place in _rows(fragments, bounds):
        chunks[first + place].append(_last_events(*events_of(_ended_since(rows, since), kinds), max_length))
    # A part's chunks go as soon as it is made of them: nothing is held twice but one part.
    parts = (part_of(number, *_one_after_the_other(chunks.pop(number))) for number in range(first, last))
    return Shard(tuple(parts), max_length)


def shard_of(events: Events, lengths: Ints, *, max_length: int) -> Shard:
    """The only rank's shard, of sequences one after the other that are as long as `lengths` say."""
    events, lengths = _last_events(events, lengths, max_length)
    starts, bounds = starts_of(lengths), [len(lengths) * number // NUM_PARTS for number in range(NUM_PARTS + 1)]
    parts = (
        part_of(number, events[starts[begin] : starts[end]], lengths[begin:end])
        for number, (begin, end) in enumerate(pairwise(bounds))
    )
    return Shard(tuple(parts), max_length)


def part_of(number: int, events: Events, lengths: Ints) -> Part:
    """The part of this number, of sequences one after the other that are as long as `lengths` say."""
    return Part(number, events, starts_of(lengths))


def _one_after_the_other(chunks: Sequence[tuple[Events, Ints]]) -> tuple[Events, Ints]:
    """Events and lengths of all chunks."""
    none = (np.empty((0, OF_EACH_EVENT), np.int32), np.empty(0, np.int64))
    events, lengths = zip(none, *chunks, strict=True)
    return np.concatenate(events), np.concatenate(lengths)


def count_sequences(
    location: str, version: int, *, as_of: date, storage_options: Mapping[str, str] | None = None
) -> int:
    """How many customers have a sequence that day, from the files' footers alone. Raises as `read_shard` does."""
    return _files_of_the_day(location, version, as_of, storage_options)[1]


def table_id(location: str, storage_options: Mapping[str, str] | None = None) -> str:
    """What tells a table from another of the same place: versions begin anew where one is dropped and made again."""
    return str(DeltaTable(location, storage_options=dict(storage_options or {})).metadata().id)


def events_of(rows: pa.Table | pa.RecordBatch, kinds: Sequence[str]) -> tuple[Events, Ints]:
    """The events of rows of gold.item_sequences one after the other, and how many each row has.

    Kinds, gaps and prices are unknown where the table does not have them, of all rows as soon as one lacks them.
    """
    indices = _column(rows, "item_indices")
    assert indices is not None  # the table's contract
    lengths = indices.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    events = np.zeros((int(lengths.sum()), OF_EACH_EVENT), np.int32)
    events[:, 0] = indices.flatten().to_numpy(zero_copy_only=False)
    of_kinds, of_times, of_prices = (_column(rows, name) for name in ("kinds", "times", "prices"))
    if kinds and of_kinds is not None:
        numbers = pc.index_in(of_kinds.flatten(), pa.array(kinds, of_kinds.type.value_type))
        events[:, 1] = pc.fill_null(pc.add(numbers, 1), UNKNOWN).to_numpy(zero_copy_only=False)
    if of_times is not None:
        at = of_times.flatten().cast(pa.timestamp("us", of_times.type.value_type.tz)).cast(pa.int64()).to_numpy()
        events[:, 2] = gap_numbers(np.diff(at, prepend=0) / MICROSECONDS_PER_MINUTE)
        events[starts_of(lengths)[:-1][lengths > 0], 2] = UNKNOWN
    if of_prices is not None:
        events[:, 3] = band_numbers(of_prices.flatten().fill_null(-1).to_numpy(zero_copy_only=False))
    return events, lengths


def band_numbers(cents: Ints) -> Ints:
    """The number of each price's band, from 1 on; `UNKNOWN` below 0."""
    numbers = np.minimum(1 + np.floor(2 * np.log2(1.0 + np.maximum(cents, 0))), NUM_BANDS).astype(np.int64)
    return np.where(cents < 0, UNKNOWN, numbers)


def gap_numbers(minutes: NDArray[np.floating]) -> Ints:
    """The number of each time gap, from 1 on; each but the last holds twice as long ones as the one before."""
    numbers: Ints = np.minimum(1 + np.floor(np.log2(1 + np.maximum(minutes, 0))), NUM_GAPS).astype(np.int64)
    return numbers


def as_events(items: Sequence[int] | Ints | Events) -> Events:
    """Item indices as events of which nothing else is known; events as they are."""
    given = np.asarray(items, dtype=np.int32)
    if given.ndim == 2:
        return given
    return np.column_stack([given, np.full((len(given), OF_EACH_EVENT - 1), UNKNOWN, np.int32)])


def pad(sequences: Sequence[Ints] | Sequence[Events] | Sequence[Bools], length: int) -> Ints:
    """Sequences as rows, zeros behind."""
    each: Sequence[NDArray[Any]] = sequences
    padded = np.zeros((len(each), length, *each[0].shape[1:]), dtype=np.int64)
    for row, sequence in enumerate(each):
        padded[row, : len(sequence)] = sequence
    return padded


def starts_of(lengths: Ints) -> Ints:
    """Where each of the sequences one after the other begins, and where the last one ends."""
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


def _rows(fragments: list[Any], bounds: Sequence[int]) -> Iterator[tuple[pa.Table, int]]:
    """The rows from the first bound to the last, counted over all fragments, each run of them with the number of its bound.

    No run goes beyond the next bound.
    """
    at = 0
    for fragment in fragments:
        columns = [
            name for name in ("item_indices", "kinds", "times", "prices") if name in fragment.physical_schema.names
        ]
        for group in fragment.row_groups:
            runs = [
                (max(begin, at), min(end, at + group.num_rows), place)
                for place, (begin, end) in enumerate(pairwise(bounds))
            ]
            if any(begin < end for begin, end, _ in runs):
                rows = fragment.subset(row_group_ids=[group.id]).to_table(columns=columns)
                for begin, end, place in runs:
                    if begin < end:
                        yield rows.slice(begin - at, end - begin), place
            at += group.num_rows


def _column(rows: pa.Table | pa.RecordBatch, name: str) -> pa.ListArray | None:
    """A column of lists; None where it is not there or a row has none."""
    if name not in rows.schema.names:
        return None
    column = rows[name].combine_chunks() if isinstance(rows, pa.Table) else rows[name]
    return None if column.null_count else column


def _ended_since(rows: pa.Table, since: date | None) -> pa.Table:
    """The rows whose last event is of this day or later, or of unknown time; in UTC, from a day before on: a shop's begin elsewhere."""
    times = None if since is None else _column(rows, "times")
    if times is None or since is None:
        return rows
    lengths = times.value_lengths().to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths)
    at = times.flatten().cast(pa.timestamp("us", times.type.value_type.tz)).cast(pa.int64()).to_numpy()
    day = (np.datetime64(since, "us") - np.timedelta64(1, "D")).astype(np.int64)
    has_new = np.zeros(len(lengths), np.bool_)
    has_new[lengths > 0] = at[ends[lengths > 0] - 1] >= day
    return rows.filter(pa.array(has_new))


def _last_events(events: Events, lengths: Ints, max_length: int) -> tuple[Events, Ints]:
    """The last events of each sequence, and how many there are."""
    from_end = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(events))
    return events[from_end <= max_length], np.minimum(lengths, max_length)
