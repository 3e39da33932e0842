"""Item sequences for training: each rank reads its own rows of a pinned Delta version, straight from the files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable
from numpy.typing import NDArray
from pyarrow import dataset

from clm_spark.errors import ContractError

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """One rank's customers: sequence n is `items[starts[n]:starts[n + 1]]`, item indices oldest first.

    `num_sequences` counts the customers of all ranks, so that every rank cuts an epoch into as many batches.
    """

    items: Ints
    starts: Ints
    num_sequences: int
    ranks: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, n: int) -> Ints:
        return self.items[self.starts[n] : self.starts[n + 1]]

    @property
    def lengths(self) -> Ints:
        """Items per sequence."""
        return np.diff(self.starts)

    def num_batches(self, batch_size: int) -> int:
        """Batches per epoch, the same on every rank: an allreduce that one rank skips never ends."""
        most = -(-self.num_sequences // self.ranks)
        return max(1, -(-most // batch_size))


@dataclass(frozen=True)
class Batch:
    """Customers side by side, padded at the end with zeros.

    `items` customers x length; `candidates` customers x width: the distinct items of each customer, and `places` where
    each item stands among them; `positions` customers x steps: the steps after which a prediction is asked.
    """

    items: Ints
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
    storage_options: Mapping[str, str] | None = None,
) -> Shard:
    """The rank's equal part of the rows of `as_of`: a run of rows over the files in the order of their names.

    Only row groups that hold such rows are read, of each sequence only its last `max_length` items are kept.
    Raises `ContractError` when the version has no sequences of that day.
    """
    fragments, num_sequences = _files_of_the_day(location, version, as_of, storage_options)
    first, last = (num_sequences * r // ranks for r in (rank, rank + 1))
    items, lengths = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for column in _rows(fragments, first, last):
        chunk_items, chunk_lengths = _last_items(column, max_length)
        items.append(chunk_items)
        lengths.append(chunk_lengths)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return Shard(np.concatenate(items), starts, num_sequences, ranks)


def count_sequences(
    location: str, version: int, *, as_of: date, storage_options: Mapping[str, str] | None = None
) -> int:
    """How many customers have a sequence that day, from the files' footers alone. Raises as `read_shard` does."""
    return _files_of_the_day(location, version, as_of, storage_options)[1]


def batches(shard: Shard, *, batch_size: int, steps: int, random: np.random.Generator) -> Iterator[Batch]:
    """One epoch: customers of about the same length together, batches in random order.

    Predictions are asked after `steps` random items of each sequence: neighbouring steps teach nearly the same.
    Sequences of one item teach nothing and are left out.
    """
    usable = np.flatnonzero(shard.lengths >= 2)
    blurred = shard.lengths[usable] * random.uniform(0.85, 1.15, len(usable))
    by_length = usable[np.argsort(blurred, kind="stable")]
    num_batches = shard.num_batches(batch_size)
    # A rank short of usable sequences begins again, or asks nothing: it must take part in every step.
    if 0 < len(by_length) < num_batches:
        by_length = np.resize(by_length, num_batches)
    parts = np.array_split(by_length, num_batches)
    for n in random.permutation(num_batches):
        yield _batch([shard[int(i)] for i in parts[n]] or [np.zeros(2, np.int64)], steps, random)


def pad(sequences: list[Ints], length: int) -> Ints:
    """Sequences as rows, zeros behind."""
    padded = np.zeros((len(sequences), length), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return padded


def _batch(sequences: list[Ints], steps: int, random: np.random.Generator) -> Batch:
    length = max(map(len, sequences))
    distinct = [np.unique(sequence, return_inverse=True) for sequence in sequences]
    positions = np.zeros((len(sequences), steps), dtype=np.int64)
    is_asked = np.zeros((len(sequences), steps), dtype=np.bool_)
    for row, sequence in enumerate(sequences):
        asked = min(steps, len(sequence) - 1)
        positions[row, :asked] = random.choice(len(sequence) - 1, asked, replace=False)
        is_asked[row, :asked] = sequence[0] > 0
    return Batch(
        items=pad(sequences, length),
        candidates=pad([items for items, _ in distinct], max(len(items) for items, _ in distinct)),
        places=pad([places for _, places in distinct], length),
        positions=positions,
        is_asked=is_asked,
    )


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


def _rows(fragments: list[Any], first: int, last: int) -> Iterator[pa.ListArray]:
    """The sequences of rows first to last, counted over all fragments."""
    at = 0
    for fragment in fragments:
        for group in fragment.row_groups:
            begin, end = max(first, at), min(last, at + group.num_rows)
            if begin < end:
                column = fragment.subset(row_group_ids=[group.id]).to_table(columns=["item_indices"])["item_indices"]
                yield column.slice(begin - at, end - begin).combine_chunks()
            at += group.num_rows


def _last_items(column: pa.ListArray, max_length: int) -> tuple[Ints, Ints]:
    """Flat items and lengths of the sequences, each cut to its last items."""
    offsets = column.offsets.to_numpy().astype(np.int64)
    values = column.values.to_numpy(zero_copy_only=False)
    lengths = np.diff(offsets)
    kept = np.minimum(lengths, max_length)
    from_end = np.repeat(offsets[1:], lengths) - np.arange(offsets[0], offsets[-1])
    return values[offsets[0] : offsets[-1]][from_end <= max_length].astype(np.int64), kept
