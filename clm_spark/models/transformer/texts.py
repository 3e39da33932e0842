"""Texts of items, and their vectors by an encoder of Hugging Face on the Spark workers."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.models.transformer.text_encoder import Encoder
from clm_spark.session import spread_over_cores
from clm_spark.tables.catalog import EVENTS, ITEM_VOCABULARY
from clm_spark.tables.lake import Lake

OF_EVENTS = ("category", "brand")  # columns; all other names are attributes


def item_texts(lake: Lake, as_of: date, names: Sequence[str]) -> DataFrame:
    """A row per item that has an index: item_index and text, of each of `names` the last value that was known, in turn.

    A name is category, brand, or that of an attribute of the item's events, such as its title or a review. An item
    without any has no row.
    """
    events = lake.read_as_of(EVENTS, as_of).where(F.col("item_id").isNotNull())
    last = [_last_known(_of_event(name)) for name in names]
    by_item = events.groupBy("item_id").agg(F.concat_ws(". ", *last).alias("text"))
    indexed = lake.read_as_of(ITEM_VOCABULARY, as_of).select("item_id", "item_index")
    return indexed.join(by_item.where(F.length("text") > 0), on="item_id", how="inner").select("item_index", "text")


def _of_event(name: str) -> Column:
    return F.col(name) if name in OF_EVENTS else F.try_element_at("attributes", F.lit(name))


def _last_known(value: Column) -> Column:
    return F.max_by(value, F.when(value.isNotNull(), F.struct("occurred_at", "event_id")))


def frozen_vectors(texts: DataFrame, settings: TransformerSettings, *, num_items: int) -> NDArray[np.float16]:
    """Items + 1 x the encoder's width: vectors of length 1 by item index, 0 where there is no text.

    Made on the workers, each of which opens the encoder; on the driver come those of a bounded vocabulary.
    """
    name, most = _checked(settings.text_encoder), settings.text_tokens

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        encoder = _opened(name)
        for batch in batches:
            found = encoder.vectors(encoder.tokens(batch["text"].to_pylist(), most)).numpy().astype(np.float16)
            halves = pa.array(
                [vector.tobytes() for vector in found], pa.binary()
            )  # a list of floats takes twice as much
            yield pa.RecordBatch.from_arrays([batch["item_index"], halves], names=["item_index", "vector"])

    rows = spread_over_cores(texts).mapInArrow(encode, "item_index int, vector binary").toArrow()
    width = _opened(name).width
    vectors = np.zeros((num_items + 1, width), np.float16)
    found = b"".join(rows["vector"].to_pylist())  # of a bounded vocabulary
    vectors[rows["item_index"].to_numpy()] = np.frombuffer(found, np.float16).reshape(-1, width)
    return vectors


def tokens_of(texts: DataFrame, settings: TransformerSettings, *, num_items: int) -> NDArray[np.int32]:
    """Items + 1 x tokens, by item index; 0 behind a text's last token, and where there is none."""
    name = _checked(settings.text_encoder)
    rows = texts.toArrow()  # of a bounded vocabulary
    found = _opened(name).tokens(rows["text"].to_pylist(), settings.text_tokens)
    tokens = np.zeros((num_items + 1, found.shape[1]), np.int32)
    tokens[rows["item_index"].to_numpy()] = found.numpy()
    return tokens


@lru_cache(maxsize=1)
def _opened(name: str) -> Encoder:
    """The encoder, opened once per Python worker."""
    return Encoder(name)


def _checked(name: str | None) -> str:
    if name is None:
        raise SettingsError(
            "transformer.item_text names texts, but transformer.text_encoder names no encoder: give the folder of a Hugging "
            "Face model or its name on the hub, or set transformer.item_text=[]"
        )
    return name
