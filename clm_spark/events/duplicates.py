"""The same event told twice, in one batch or in two, becomes one row; only the suspects are moved between machines."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.session import kept
from clm_spark.tables.catalog import EVENTS

MOST_TO_BROADCAST = 500_000  # keys of 8 bytes
# A time that was corrected for a wrong clock differs, from one sending to the next, by what each was on the way.
ON_THE_WAY = timedelta(hours=1)


@dataclass(frozen=True)
class NewEvents:
    """The events of a batch that no earlier one brought, each once, and how many records and events there are.

    `num_new` is counted from the ids, apart from `rows`, so that a write can be held against it. `duplicates` says how
    many records of each file tell an event again.
    """

    rows: DataFrame
    duplicates: dict[str, int]
    num_usable: int
    num_new: int


@dataclass(frozen=True)
class Span:
    """How many usable records a batch has, and over which time in microseconds since 1970; no times where none are."""

    num_usable: int
    first_us: int | None
    last_us: int | None


@contextmanager
def new_events(typed: DataFrame, earlier: DataFrame, *, span: Span | None = None) -> Iterator[NewEvents]:
    """Drop what is told again from the usable records of a batch, `typed`; `earlier` are the events of other batches.

    Of an event told twice the telling that was known first stays, whatever the order of reading. `rows` can be read
    inside the block. The 64-bit hash of event_id only finds the suspects; among them the whole event_id decides.
    """
    usable = typed.where(F.col("reason").isNull())
    span = span or _span(usable)
    # The same event happened at the same time: statistics on occurred_at spare most files of a long history.
    first, last = (F.timestamp_micros(F.lit(us).cast("bigint")) for us in (span.first_us, span.last_us))
    before = earlier.where(F.col("occurred_at").between(first - F.lit(ON_THE_WAY), last + F.lit(ON_THE_WAY)))
    with kept(_suspects(usable, before)) as suspects:
        told = suspects.agg(F.count("*").alias("keys"), F.coalesce(F.sum("n"), F.lit(0)).alias("records")).head()
        assert told is not None
        if not told["keys"]:
            yield NewEvents(usable.select(EVENTS.schema.names), {}, span.num_usable, span.num_usable)
            return
        keys = suspects.select("_key")
        keys = F.broadcast(keys) if told["keys"] <= MOST_TO_BROADCAST else keys
        keyed = usable.withColumn("_key", _key())
        # The doubtful are few as a rule, and looked at three times.
        doubtful = keyed.join(keys, on="_key", how="left_semi")
        known = before.select("event_id", _key().alias("_key")).join(keys, on="_key", how="left_semi")
        with kept(_with_is_new(doubtful, known)) as tellings:
            again = tellings.groupBy("file").agg(F.count_if(~F.col("_is_new")).alias("n")).collect()
            new = tellings.where("_is_new")
            num_new = span.num_usable - told["records"] + new.select("event_id").distinct().count()
            clean = keyed.join(keys, on="_key", how="left_anti")
            rows = clean.select(EVENTS.schema.names).unionAll(new.select(EVENTS.schema.names))
            yield NewEvents(rows, {row["file"]: row["n"] for row in again}, span.num_usable, num_new)


def _span(usable: DataFrame) -> Span:
    times = (F.unix_micros(F.min("occurred_at")), F.unix_micros(F.max("occurred_at")))
    counted = usable.agg(F.count("*"), *times).head()
    assert counted is not None
    return Span(*counted)


def _suspects(usable: DataFrame, before: DataFrame) -> DataFrame:
    """`_key`s that come more than once or came before, and in how many records of the batch."""
    per_key = usable.groupBy(_key().alias("_key")).agg(F.count("*").alias("n"))
    known = before.select(_key().alias("_key")).distinct().withColumn("is_known", F.lit(True))
    marked = per_key.join(known, on="_key", how="left")
    return marked.where((F.col("n") > 1) | F.coalesce("is_known", F.lit(False))).select("_key", "n")


def _key() -> Column:
    return F.xxhash64("event_id")


def _with_is_new(doubtful: DataFrame, known: DataFrame) -> DataFrame:
    """`_is_new`: the first telling of an event that is not among the known ones."""
    tellings = Window.partitionBy("event_id").orderBy("known_at", "record", "file", "position")
    told_before = known.select("event_id").distinct().withColumn("_was_known", F.lit(True))
    marked = doubtful.withColumn("_telling", F.row_number().over(tellings)).join(told_before, on="event_id", how="left")
    return marked.withColumn("_is_new", (F.col("_telling") == 1) & F.col("_was_known").isNull())
