"""What the parser made of a batch: a verdict per record, and how many records each file lost and why."""

from collections import Counter
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Where a record stood; a file delivered again under its name has other times, not other places.
PLACE = ("file", "arrived_at", "position")
MOST_TO_BROADCAST = 500_000  # keys of 8 bytes, or places
IS_USABLE, IS_REJECTED = "reason IS NULL", "reason IS NOT NULL"


@dataclass(frozen=True)
class Span:
    """How many usable records a batch has, and over which time in microseconds since 1970; no times where none are."""

    num_usable: int
    first_us: int | None
    last_us: int | None


@dataclass(frozen=True)
class Judged:
    """Records of a batch: usable and rejected ones by file, rejected ones by reason, and when the usable ones happened."""

    usable: Counter[str]
    rejected: Counter[str]
    reasons: Counter[str]
    span: Span
    num_widened: int  # records that say more than their source knows

    @property
    def num_rejected(self) -> int:
        """Of the whole batch."""
        return self.rejected.total()

    @property
    def num_judged(self) -> int:
        """Of the whole batch, usable or not."""
        return self.usable.total() + self.rejected.total()


def verdicts_of(typed: DataFrame) -> DataFrame:
    """Of each parsed record its place, its `reason`, when it happened, and `event_key` in place of the whole event.

    Narrow: whoever asks about a batch reads these again and again, not the records, which are as large as the batch.
    """
    return typed.select(*PLACE, "reason", "occurred_at", "new_columns", event_key().alias("event_key"))


def event_key() -> Column:
    """A 64-bit hash of event_id, which finds the suspects; among them the whole id decides."""
    return F.xxhash64("event_id")


def few(rows: DataFrame, *, num: int) -> DataFrame:
    """Keys or places to join with, sent to every task where they are few; Spark would guess them as many as it looked at."""
    return F.broadcast(rows) if num <= MOST_TO_BROADCAST else rows


def judged_records(verdicts: DataFrame) -> Judged:
    """One pass over the verdicts; a row per file and reason passes the driver."""
    times = (F.unix_micros(F.min("occurred_at")), F.unix_micros(F.max("occurred_at")))
    widened = F.count_if(F.col("new_columns").isNotNull())
    num_widened = 0
    usable, rejected, reasons = Counter[str](), Counter[str](), Counter[str]()
    first, last = [], []
    groups = verdicts.groupBy("file", "reason").agg(F.count("*"), *times, widened)
    for file, reason, num, first_us, last_us, num_wider in groups.collect():
        num_widened += num_wider
        if reason is None:
            usable[file] += num
            first.append(first_us)
            last.append(last_us)
        else:
            rejected[file] += num
            reasons[reason] += num
    span = Span(usable.total(), min(first, default=None), max(last, default=None))
    return Judged(usable, rejected, reasons, span, num_widened)
