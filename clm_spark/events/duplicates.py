"""The same event told twice, in one batch or in two, becomes one row; only the suspects are moved between machines."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.tables.catalog import EVENTS

MOST_TO_BROADCAST = 500_000  # keys of 8 bytes
# A time that was corrected for a wrong clock differs, from one sending to the next, by what each was on the way.
ON_THE_WAY = timedelta(hours=1)


@dataclass(frozen=True)
class NewEvents:
    """The events of a batch that no earlier one brought, each once, and how many records and events there are.

    `num_new` is counted from the ids, apart from `rows`, so that a write can be held against it. `duplicates` has the
    records of each file that tell an event again: `file`, `num_duplicates`.
    """

    rows: DataFrame
    duplicates: DataFrame
    num_usable: int
    num_new: int


@contextmanager
def new_events(typed: DataFrame, earlier: DataFrame) -> Iterator[NewEvents]:
    """Drop what is told again from the usable records of a batch, `typed`; `earlier` are the events of other batches.

    Of an event told twice the telling that was known first stays, whatever the order of reading. `rows` can be read
    inside the block. The 64-bit hash of event_id only finds the suspects; among them the whole event_id decides.
    """
    usable = typed.where(F.col("reason").isNull())
    # The same event happened at the same time: statistics on occurred_at spare most files of a long history.
    span = usable.agg(
        (F.min("occurred_at") - F.lit(ON_THE_WAY)).alias("first"),
        (F.max("occurred_at") + F.lit(ON_THE_WAY)).alias("last"),
        F.count("*").alias("n"),
    )
    counted = span.head()
    assert counted is not None
    before = earlier.where(F.col("occurred_at").between(F.lit(counted["first"]), F.lit(counted["last"])))
    suspects = _suspects(usable, before).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        told = suspects.agg(F.count("*").alias("keys"), F.coalesce(F.sum("n"), F.lit(0)).alias("records")).head()
        assert told is not None
        if not told["keys"]:
            none = usable.limit(0).select("file", F.lit(0).cast("bigint").alias("num_duplicates"))
            yield NewEvents(usable.select(EVENTS.schema.names), none, counted["n"], counted["n"])
            return
        keys = suspects.select("_key")
        keys = F.broadcast(keys) if told["keys"] <= MOST_TO_BROADCAST else keys
        keyed = usable.withColumn("_key", _key())
        doubtful = keyed.join(keys, on="_key", how="left_semi")
        new = _first_telling(doubtful).join(before.select("event_id"), on="event_id", how="left_anti")
        clean = keyed.join(keys, on="_key", how="left_anti")
        rows = clean.select(EVENTS.schema.names).unionAll(new.select(EVENTS.schema.names))
        num_new = counted["n"] - told["records"] + new.select("event_id").distinct().count()
        told_again = doubtful.withColumn("n", F.lit(1)).unionByName(
            new.withColumn("n", F.lit(-1)), allowMissingColumns=True
        )
        duplicates = told_again.groupBy("file").agg(F.sum("n").alias("num_duplicates"))
        yield NewEvents(rows, duplicates, counted["n"], num_new)
    finally:
        suspects.unpersist()


def _suspects(usable: DataFrame, before: DataFrame) -> DataFrame:
    """`_key`s that come more than once or came before, and in how many records of the batch."""
    per_key = usable.groupBy(_key().alias("_key")).agg(F.count("*").alias("n"))
    known = before.select(_key().alias("_key")).distinct().withColumn("is_known", F.lit(True))
    marked = per_key.join(known, on="_key", how="left")
    return marked.where((F.col("n") > 1) | F.coalesce("is_known", F.lit(False))).select("_key", "n")


def _key() -> Column:
    return F.xxhash64("event_id")


def _first_telling(events: DataFrame) -> DataFrame:
    tellings = Window.partitionBy("event_id").orderBy("known_at", "record", "file", "position")
    return events.withColumn("_telling", F.row_number().over(tellings)).where(F.col("_telling") == 1)
