"""The same event told twice, in one batch or in two, becomes one row; only the suspects are moved between machines."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.ingest.validation import IS_USABLE, PLACE, Span, event_key, few
from clm_spark.session import persisted
from clm_spark.tables.catalog import EVENTS

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


@contextmanager
def new_events(typed: DataFrame, verdicts: DataFrame, earlier: DataFrame, *, span: Span) -> Iterator[NewEvents]:
    """Drop what is told again from the usable records of a batch; `earlier` are the events of other batches.

    The parsed records are read once for `rows` and once, at few places, for the doubtful ones; all else is asked of their
    `verdicts`. Of an event told twice the telling that was known first stays, whatever the order of reading. `rows` can
    be read inside the block.
    """
    # The same event happened at the same time: statistics on occurred_at spare most files of a long history.
    first, last = (F.timestamp_micros(F.lit(us).cast("bigint")) for us in (span.first_us, span.last_us))
    before = earlier.where(F.col("occurred_at").between(first - F.lit(ON_THE_WAY), last + F.lit(ON_THE_WAY)))
    with persisted(_suspects(verdicts.where(IS_USABLE), before)) as suspects:
        told = suspects.agg(F.count("*").alias("keys"), F.coalesce(F.sum("n"), F.lit(0)).alias("records")).head()
        assert told is not None
        events = typed.where(IS_USABLE)
        if not told["keys"]:
            yield NewEvents(events.select(EVENTS.schema.names), {}, span.num_usable, span.num_usable)
            return
        keys = few(suspects.select("event_key"), num=told["keys"])
        told_again = verdicts.where(IS_USABLE).join(keys, on="event_key", how="left_semi")
        places = few(told_again.select(*PLACE), num=told["records"])
        doubtful = events.join(places, on=list(PLACE), how="left_semi")
        keyed = before.select("event_id", event_key().alias("event_key"))
        known = keyed.join(keys, on="event_key", how="left_semi").select("event_id").distinct()
        # The doubtful are few as a rule, and looked at three times.
        with persisted(_with_is_new(doubtful, known)) as tellings:
            again = tellings.groupBy("file").agg(F.count_if(~F.col("_is_new")).alias("n")).collect()
            new = tellings.where("_is_new")
            num_new = span.num_usable - told["records"] + new.select("event_id").distinct().count()
            clean = events.join(places, on=list(PLACE), how="left_anti")
            rows = clean.select(EVENTS.schema.names).unionAll(new.select(EVENTS.schema.names))
            yield NewEvents(rows, {row["file"]: row["n"] for row in again}, span.num_usable, num_new)


def _suspects(usable: DataFrame, before: DataFrame) -> DataFrame:
    """`event_key`s that come more than once or came before, and in how many records of the batch."""
    per_key = usable.groupBy("event_key").agg(F.count("*").alias("n"))
    known = before.select(event_key().alias("event_key")).distinct().withColumn("is_known", F.lit(True))
    marked = per_key.join(known, on="event_key", how="left")
    return marked.where((F.col("n") > 1) | F.coalesce("is_known", F.lit(False))).select("event_key", "n")


def _with_is_new(doubtful: DataFrame, known: DataFrame) -> DataFrame:
    """`_is_new`: the first telling of an event that is not among the known ones."""
    tellings = Window.partitionBy("event_id").orderBy("known_at", "record", "file", "position")
    told_before = known.withColumn("_was_known", F.lit(True))
    marked = doubtful.withColumn("_telling", F.row_number().over(tellings)).join(told_before, on="event_id", how="left")
    return marked.withColumn("_is_new", (F.col("_telling") == 1) & F.col("_was_known").isNull())
