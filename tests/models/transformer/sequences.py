"""Tables shaped like gold.item_sequences, written without Spark, and the settings that train in seconds."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import WriterProperties, write_deltalake

from clm_spark.models.transformer.data import read_shard
from clm_spark.models.transformer.settings import TransformerSettings

MONDAY, TUESDAY = date(2024, 2, 26), date(2024, 2, 27)
FIRST_AT = datetime(2024, 2, 1, tzinfo=UTC)
KINDS = ("view", "purchase")
NUM_ITEMS = 30
DEBUG_SIZE = TransformerSettings(
    launcher="one_process",
    layers=1,
    width=16,
    max_length=16,
    dropout=0.0,
    horizon=1,
    steps=8,
    negatives=16,
    batch_size=16,
    learning_rate=0.02,
)


def write_sequences(
    table: Path, sequences: Sequence[Sequence[int]], as_of: date = MONDAY, *, minutes: int = 60, kinds: bool = True
) -> None:
    """Append one file, ten rows per row group: events `minutes` apart, of views and purchases in turn."""
    lengths = [len(items) for items in sequences]
    hours = [[FIRST_AT + timedelta(minutes=minutes * step) for step in range(length)] for length in lengths]
    columns = {
        "customer_id": [f"c{n:04}" for n in range(len(sequences))],
        "as_of": pa.array([as_of] * len(sequences), pa.date32()),
        "item_indices": pa.array([list(map(int, items)) for items in sequences], pa.list_(pa.int32())),
        "length": pa.array(lengths, pa.int32()),
    }
    if kinds:  # older tables have none
        columns["kinds"] = pa.array([[KINDS[step % 2] for step in range(length)] for length in lengths])
        # A hundred cents and fifty more with every second step; of those between the price is not known.
        prices = [[100 + 25 * (step + 1) if step % 2 else None for step in range(length)] for length in lengths]
        columns["prices"] = pa.array(prices, pa.list_(pa.int64()))
        columns["times"] = pa.array(hours, pa.list_(pa.timestamp("us", "UTC")))
    properties = WriterProperties(max_row_group_size=10)
    write_deltalake(str(table), pa.table(columns), mode="append", partition_by=["as_of"], writer_properties=properties)


def cycles(num_customers: int, seed: int = 7) -> list[list[int]]:
    """Every customer goes round the items in the same order, from an item and for a length of their own."""
    random = np.random.default_rng(seed)
    starts, lengths = random.integers(0, NUM_ITEMS, num_customers), random.integers(5, 25, num_customers)
    return [[1 + (start + step) % NUM_ITEMS for step in range(n)] for start, n in zip(starts, lengths, strict=True)]


def shards_of(table, version, *, ranks, max_length=100, kinds=()):
    """Every rank's part of MONDAY."""
    return [
        read_shard(str(table), version, as_of=MONDAY, rank=rank, ranks=ranks, max_length=max_length, kinds=kinds)
        for rank in range(ranks)
    ]
