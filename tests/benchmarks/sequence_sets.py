"""Item sequences of data sets that papers report, and the table that the transformer is trained from."""

import gzip
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake
from numpy.typing import NDArray

DATA = Path(__file__).parents[3] / "shared" / "data"
DAY = date(2024, 1, 1)
Sequences = list[NDArray[np.int64]]


def amazon_beauty(file: Path) -> Sequences:
    """Of each of 22,363 users the items, oldest first: 5-core, as S3-Rec used it."""
    with gzip.open(file, "rt") as lines:
        return [np.array(line.split()[1:], dtype=np.int64) for line in lines]


def movielens(file: Path) -> Sequences:
    """Of each of 6,040 users the films, oldest first: a line per user and film, in the order of time."""
    with gzip.open(file, "rt") as lines:
        pairs = np.array([line.split() for line in lines], dtype=np.int64)
    order = np.argsort(pairs[:, 0], kind="stable")
    users, items = pairs[order].T
    return np.split(items, np.flatnonzero(np.diff(users)) + 1)


# Name: the file below `DATA`, and its reader.
LEAVE_ONE_OUT: dict[str, tuple[str, Callable[[Path], Sequences]]] = {
    "beauty": ("amazon_beauty/beauty-5core.txt.gz", amazon_beauty),
    "movielens": ("ml1m/ml-1m.txt.gz", movielens),
}


def write_sequences(table: Path, sequences: Sequence[NDArray[np.int64]]) -> str:
    """A Delta table shaped like gold.item_sequences, of one day; its location."""
    offsets = pa.array(np.concatenate([[0], np.cumsum([len(items) for items in sequences])]), pa.int32())
    items = pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(sequences), pa.int32()))
    customers = pa.array([f"c{number:07}" for number in range(len(sequences))])
    days = pa.array([DAY] * len(sequences), pa.date32())
    columns = {"customer_id": customers, "as_of": days, "item_indices": items, "length": items.value_lengths()}
    write_deltalake(str(table), pa.table(columns), mode="overwrite")
    return str(table)
