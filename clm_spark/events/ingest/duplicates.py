"""Deduplication: an event that comes twice, in one batch or in two, becomes one row. Only candidates are shuffled."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.ingest.claims import KAFKA
from clm_spark.events.ingest.validation import IS_USABLE, PLACE, Span, event_key, few
from clm_spark.privacy.pseudonyms import EVENT_ID_DIGITS
from clm_spark.session import persisted
from clm_spark.tables.catalog import EVENTS

# A line of an order may come again at another time of its day, and a corrected time differs by the time of transmission.
MAX_SHIFT = timedelta(days=1)

# What a record tells of its event: not its time, which the correction of a clock moves, nor what else is kept of it.
SAID = [
    name
    for name in EVENTS.schema.names
    if name not in ("event_id", "occurred_at", "known_at", "attributes", "source", "batch_id")
]


@dataclass(frozen=True)
class NewEvents:
    """The events of a batch that no earlier batch has, each once, and how many records and events there are.

    `num_new` is counted from the ids, apart from `rows`, so that a write can be checked against it. `duplicates` is the
    number of duplicate records in each file.
    """

    rows: DataFrame
    duplicates: dict[str, int]
    num_usable: int
    num_new: int
    num_repeated: int  # identical records that are events of their own
    num_retold: int = 0  # lines of orders that came at another time of their day, too, and are duplicates
    changed: "Changed | None" = None  # None, too, where ids follow from what records say


@dataclass(frozen=True)
class Changed:
    """Events of which records with the same id say different things, and the last such record of the batch."""

    num_events: int
    num_known: int  # of them events that earlier batches have
    file: str
    position: int


@contextmanager
def new_events(
    typed: DataFrame,
    results: DataFrame,
    earlier: DataFrame,
    *,
    span: Span,
    repeating: Sequence[str] = (),
    max_shift: timedelta = MAX_SHIFT,
    has_own_ids: bool = False,
    last_by: str | None = None,
) -> Iterator[NewEvents]:
    """Drop duplicates from the usable records of a batch; `earlier` are the events of other batches.

    The times of two records of an event differ by `max_shift` at most.

    Of the kinds `repeating`, identical records of one file are as many events: the second has the id of the first with
    `-2` behind it, and so on, so that the same file under another name brings nothing new.

    The parsed records are read once for `rows`, and once more for the few candidates; all else is computed from the
    narrow validation `results`. Of duplicates the record that was known first stays, whatever the order of reading; of those
    in one batch the one with the greatest number or text in the attribute `last_by`, where one is named.
    `rows` can be read inside the block.
    """
    # Duplicates have nearly the same time: file statistics on occurred_at skip most files of a long history.
    first, last = (F.timestamp_micros(F.lit(us).cast("bigint")) for us in (span.first_us, span.last_us))
    before = earlier.where(F.col("occurred_at").between(first - F.lit(max_shift), last + F.lit(max_shift)))
    with ExitStack() as stack:
        candidates = stack.enter_context(persisted(_candidate_keys(results.where(IS_USABLE), before)))
        found = candidates.agg(F.count("*").alias("keys"), F.coalesce(F.sum("n"), F.lit(0)).alias("records")).head()
        assert found is not None
        events = typed.where(IS_USABLE)
        if not found["keys"]:
            yield NewEvents(events.select(EVENTS.schema.names), {}, span.num_usable, span.num_usable, 0)
            return
        keys = few(candidates.select("event_key"), num=found["keys"])
        repeated = results.where(IS_USABLE).join(keys, on="event_key", how="left_semi")
        places = few(repeated.select(*PLACE), num=found["records"])
        records = events.join(places, on=list(PLACE), how="left_semi")
        says = [F.xxhash64(*SAID).alias("says")] if has_own_ids else []
        keyed = before.select("event_id", "occurred_at", event_key().alias("event_key"), *says)
        if repeating:
            records = stack.enter_context(persisted(_numbered(records, repeating)))
            keys = few(records.select(event_key().alias("event_key")).distinct(), num=found["records"])
        known = keyed.join(keys, on="event_key", how="left_semi").drop("event_key").distinct()
        # Few as a rule, and read three times.
        copies = stack.enter_context(persisted(_with_is_new(records, known.select("event_id", "occurred_at"), last_by)))
        is_again = ~F.col("_is_new")
        per_file = copies.groupBy("file").agg(F.count_if(is_again).alias("n"), F.count_if("_is_retold").alias("retold"))
        duplicates = per_file.collect()
        new = copies.where("_is_new")
        num_repeated = new.where(F.length("event_id") > EVENT_ID_DIGITS).count() if repeating else 0
        num_new = span.num_usable - found["records"] + new.select("event_id").distinct().count()
        clean = events.join(places, on=list(PLACE), how="left_anti")
        rows = clean.select(EVENTS.schema.names).unionAll(new.select(EVENTS.schema.names))
        counted = {row["file"]: row["n"] for row in duplicates}
        changed = _changed(copies, known) if has_own_ids else None
        num_retold = 0 if has_own_ids else sum(row["retold"] for row in duplicates)
        yield NewEvents(rows, counted, span.num_usable, num_new, num_repeated, num_retold, changed)


def _candidate_keys(usable: DataFrame, before: DataFrame) -> DataFrame:
    """Each `event_key` that comes more than once, or is in `before`, and in how many records of the batch."""
    per_key = usable.groupBy("event_key").agg(F.count("*").alias("n"))
    known = before.select(event_key().alias("event_key")).distinct().withColumn("is_known", F.lit(True))
    marked = per_key.join(known, on="event_key", how="left")
    return marked.where((F.col("n") > 1) | F.coalesce("is_known", F.lit(False))).select("event_key", "n")


def _numbered(records: DataFrame, repeating: Sequence[str]) -> DataFrame:
    """The records of these kinds with ids that count identical ones within a file."""
    identical = Window.partitionBy("file", "arrived_at", "event_id", "record").orderBy("position")
    number = F.row_number().over(identical)
    own_id = F.concat("event_id", F.lit("-"), number.cast("string"))
    # A message may be delivered again under another offset.
    is_counted = F.col("kind").isin(*repeating) & ~F.col("file").startswith(KAFKA)
    return records.withColumn("event_id", F.when(is_counted & (number > 1), own_id).otherwise(F.col("event_id")))


def _with_is_new(records: DataFrame, known: DataFrame, last_by: str | None) -> DataFrame:
    """Add `_is_new`: true for the record that counts of an event that is not among the `known` ones.

    And `_is_retold`: true for those that tell another time than this record.
    """
    value = F.col("attributes")[last_by] if last_by else None
    latest = [] if value is None else [F.desc(value.try_cast("double")), F.desc(value)]
    copies = Window.partitionBy("event_id").orderBy(*latest, "known_at", "record", "file", "position")
    known = known.withColumnRenamed("occurred_at", "_was_at")
    is_line = (F.col("kind") == "purchase") & F.col("order_id").isNotNull()
    numbered = records.withColumns(
        {"_copy": F.row_number().over(copies), "_first_at": F.first("occurred_at").over(copies)}
    )
    marked = numbered.join(known, on="event_id", how="left")
    is_retold = is_line & (F.coalesce("_was_at", "_first_at") != F.col("occurred_at"))
    marked = marked.withColumn("_is_retold", is_retold)
    return marked.withColumn("_is_new", (F.col("_copy") == 1) & F.col("_was_at").isNull())


def _changed(copies: DataFrame, known: DataFrame) -> Changed | None:
    """What records say of events that other records, or the `known` events, tell otherwise."""
    place, is_known = F.struct("file", "position"), F.lit(False).alias("is_known")
    told = copies.select("event_id", F.xxhash64(*SAID).alias("says"), place.alias("place"), is_known)
    nowhere = F.lit(None).cast(told.schema["place"].dataType).alias("place")
    stored = known.select("event_id", "says", nowhere, F.lit(True).alias("is_known"))
    per_event = told.unionByName(stored).groupBy("event_id")
    last = per_event.agg(
        F.count_distinct("says").alias("n"), F.max("place").alias("place"), F.bool_or("is_known").alias("is_known")
    )
    found = last.where("n > 1").agg(F.count("*"), F.count_if("is_known"), F.max("place")).head()
    return Changed(found[0], found[1], *found[2]) if found and found[0] else None
