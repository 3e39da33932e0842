"""Vectors and tokens of items' texts, by an encoder of Hugging Face on the Spark workers."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from clm_spark.models.transformer.text_encoder import Encoder
from clm_spark.session import spread_over_cores


def frozen_vectors(texts: DataFrame, encoder: str, *, most_tokens: int, num_items: int) -> NDArray[np.float16]:
    """Items + 1 x the encoder's width: vectors of length 1 by item index, 0 where there is no text.

    `encoder` is a folder that every worker sees, or a name on the hub. Made on the workers, each of which opens it; on
    the driver come those of a bounded vocabulary. Raises `SettingsError` where the driver cannot open it.
    """
    width = _opened(encoder).width  # before workers are asked, who could only fail

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        model = _opened(encoder)
        for batch in batches:
            found = model.vectors(model.tokens(batch["text"].to_pylist(), most_tokens)).numpy().astype(np.float16)
            halves = pa.array(
                [vector.tobytes() for vector in found], pa.binary()
            )  # a list of floats takes twice as much
            yield pa.RecordBatch.from_arrays([batch["item_index"], halves], names=["item_index", "vector"])

    rows = spread_over_cores(texts, "item_index").mapInArrow(encode, "item_index int, vector binary").toArrow()
    vectors = np.zeros((num_items + 1, width), np.float16)
    found = b"".join(rows["vector"].to_pylist())  # of a bounded vocabulary
    vectors[rows["item_index"].to_numpy()] = np.frombuffer(found, np.float16).reshape(-1, width)
    return vectors


def tokens_of(texts: DataFrame, encoder: str, *, most_tokens: int, num_items: int) -> NDArray[np.int32]:
    """Items + 1 x tokens, by item index; 0 behind a text's last token, and where there is none."""
    rows = texts.toArrow()  # of a bounded vocabulary
    found = _opened(encoder).tokens(rows["text"].to_pylist(), most_tokens)
    tokens = np.zeros((num_items + 1, found.shape[1]), np.int32)
    tokens[rows["item_index"].to_numpy()] = found.numpy()
    return tokens


@lru_cache(maxsize=1)
def _opened(name: str) -> Encoder:
    """The encoder, opened once per Python worker."""
    return Encoder(name)
