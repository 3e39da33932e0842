"""Texts of items: what an item's category, brand or attributes say of it, and which words matter."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.catalog import EVENTS, ITEM_VOCABULARY
from clm_spark.tables.lake import Lake

OF_EVENTS = ("category", "brand")  # columns; all other names are attributes
WORD = r"[\p{L}\p{N}]+"


def item_texts(lake: Lake, as_of: date, names: Sequence[str], items: DataFrame | None = None) -> DataFrame:
    """A row per item of `items`: item_index and text, of each of `names` the last value that was known, in turn.

    `items` has item_id and item_index; where it is not given, it is gold.item_vocabulary. A name is category, brand, or
    that of an attribute of the item's events, such as its title or a review. An item without any has no row.
    """
    events = lake.read_as_of(EVENTS, as_of).where(F.col("item_id").isNotNull())
    last = [_last_known(_of_event(name)) for name in names]
    by_item = events.groupBy("item_id").agg(F.concat_ws(". ", *last).alias("text"))
    indexed = lake.read_as_of(ITEM_VOCABULARY, as_of) if items is None else items
    named = indexed.join(by_item.where(F.length("text") > 0), on="item_id", how="inner")
    return named.select("item_index", "text")


def word_weights(texts: DataFrame, *, most_words: int) -> DataFrame:
    """A row per item and word: item_index, word (a hash of it) and weight, from texts by `item_index`.

    The weight is (1 + ln n) (1 + ln((1 + N) / (1 + d))): n times in this text, in d of N texts (tf-idf, smoothed; Salton
    and Buckley 1988). Words are letters and digits, without case; of a text the first `most_words` count.
    """
    words = F.slice(F.regexp_extract_all(F.lower("text"), F.lit(WORD), F.lit(0)), 1, most_words)
    told = texts.select("item_index", F.explode(words).alias("spelt"))
    counted = told.groupBy("item_index", F.xxhash64("spelt").alias("word")).agg(F.count("*").alias("n"))
    in_texts = counted.groupBy("word").agg(F.count("*").alias("d"))
    num_texts = counted.agg(F.count_distinct("item_index").alias("num_texts"))
    weighed = counted.join(in_texts, on="word", how="inner").crossJoin(F.broadcast(num_texts))
    weight = (1 + F.log("n")) * (1 + F.log((1 + F.col("num_texts")) / (1 + F.col("d"))))
    return weighed.select("item_index", "word", weight.alias("weight"))


def _of_event(name: str) -> Column:
    return F.col(name) if name in OF_EVENTS else F.try_element_at("attributes", F.lit(name))


def _last_known(value: Column) -> Column:
    return F.max_by(value, F.when(value.isNotNull(), F.struct("occurred_at", "event_id")))
