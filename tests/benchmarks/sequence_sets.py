"""Item sequences of data sets that papers report, and the table that the transformer is trained from."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake
from numpy.typing import NDArray
from ta_feng import FILE, baskets_of

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


def retailrocket_sessions(file: Path) -> Sequences:
    """The items viewed in each of 126,168 training sessions, oldest first."""
    with gzip.open(file, "rt") as lines:
        return [np.array(line.split(), dtype=np.int64) for line in lines if line.strip()]


def retailrocket_tests(file: Path) -> Sequences:
    """Of each of 15,132 test prefixes the items viewed so far, and the one viewed next."""
    with gzip.open(file, "rt") as lines:
        next(lines)
        rows = [line.rstrip("\n").split("\t") for line in lines]
    return [np.array([*row[1].split(), row[2]], dtype=np.int64) for row in rows]


@dataclass(frozen=True)
class SequenceSet:
    """What is trained on, the histories that are asked about, and which items came next; no item has the index 0."""

    train: Sequences
    histories: Sequences
    truth: Sequences
    hides_seen: bool
    validation_share: float
    categories: NDArray[np.int64] | None = None  # a number by item, where the set has some

    @property
    def num_items(self) -> int:
        """The highest index."""
        return int(max(items.max() for items in (*self.train, *self.histories, *self.truth)))


def _beauty(folder: Path) -> SequenceSet:
    """With each item's narrowest category or brand: the one of its attributes that the fewest items have, but ten."""
    found = _leave_one_out(amazon_beauty(folder / BEAUTY))
    with gzip.open(folder / ATTRIBUTES, "rt") as file:
        of_items = {int(item): attributes for item, attributes in json.load(file).items()}
    counts = Counter(attribute for attributes in of_items.values() for attribute in attributes)
    categories = np.zeros(found.num_items + 1, np.int64)
    for item, attributes in of_items.items():
        common = [attribute for attribute in attributes if counts[attribute] >= 10]
        categories[item] = min(common, key=lambda attribute: counts[attribute], default=0)
    return replace(found, categories=categories)


def _leave_one_out(sequences: Sequences) -> SequenceSet:
    """Everyone's last item is to be told, and the one before it validates; what was taken is not listed again."""
    before = [items[:-1] for items in sequences]
    return SequenceSet(before, before, [items[-1:] for items in sequences], hides_seen=True, validation_share=1.0)


def _retailrocket(folder: Path) -> SequenceSet:
    train, test = (
        read(folder / name)
        for read, name in zip((retailrocket_sessions, retailrocket_tests), RETAILROCKET, strict=True)
    )
    least = min(items.min() for items in (*train, *test))
    known, asked = ([items + 1 - least for items in some] for some in (train, test))
    histories, truth = [items[:-1] for items in asked], [items[-1:] for items in asked]
    return SequenceSet(known, histories, truth, hides_seen=False, validation_share=0.1)


def _ta_feng(folder: Path) -> SequenceSet:
    """Everyone's last basket is to be told; the baskets before it stand one behind the other, as they are written."""
    known, last = baskets_of(folder / "tafeng")
    histories = [np.concatenate(baskets).astype(np.int64) + 1 for baskets in known]
    truth = [np.unique(basket).astype(np.int64) + 1 for basket in last]
    return SequenceSet(histories, histories, truth, hides_seen=False, validation_share=0.2)


RETAILROCKET = ("retailrocket_sessions/train-sessions.txt.gz", "retailrocket_sessions/test.tsv.gz")
BEAUTY, MOVIELENS = "amazon_beauty/beauty-5core.txt.gz", "ml1m/ml-1m.txt.gz"
ATTRIBUTES = "amazon_beauty/item-attributes.json.gz"
# Name: the files in the folder of data sets, and what reads them.
SETS: dict[str, tuple[tuple[str, ...], Callable[[Path], SequenceSet]]] = {
    "beauty": ((BEAUTY, ATTRIBUTES), _beauty),
    "movielens": ((MOVIELENS,), lambda folder: _leave_one_out(movielens(folder / MOVIELENS))),
    "retailrocket": (RETAILROCKET, _retailrocket),
    "tafeng": ((f"tafeng/{FILE}",), _ta_feng),
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
