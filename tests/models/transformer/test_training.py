from datetime import date

import numpy as np
import pytest
import torch
from deltalake import write_deltalake
import pyarrow as pa

from clm_spark.config import TransformerSettings
from clm_spark.errors import ContractError
from clm_spark.models.transformer.data import batches, count_sequences, read_shard
from clm_spark.models.transformer.network import load_model, new_model
from clm_spark.models.transformer.score import score_all, top_items
from clm_spark.models.transformer.train import OneRank, TrainingTask, train

MONDAY, TUESDAY = date(2024, 2, 26), date(2024, 2, 27)
# The real trainer in seconds: what a change to training is tried on first.
DEBUG_SIZE = TransformerSettings(
    launcher="one_process", ranks=2, layers=1, width=16, max_length=16, dropout=0.0, horizon=1, steps=8,
    negatives=16, batch_size=16, learning_rate=0.01,
)  # fmt: skip


def write_sequences(location, sequences, as_of=MONDAY):
    """A table as gold.item_sequences, one file per call, 10 rows per row group."""
    rows = pa.table(
        {
            "customer_id": [f"c{n}" for n in range(len(sequences))],
            "as_of": pa.array([as_of] * len(sequences), pa.date32()),
            "item_indices": pa.array([list(map(int, s)) for s in sequences], pa.list_(pa.int32())),
            "length": pa.array(map(len, sequences), pa.int32()),
        }
    )
    properties = WriterProperties(max_row_group_size=10)
    write_deltalake(str(location), rows, mode="append", partition_by=["as_of"], writer_properties=properties)
