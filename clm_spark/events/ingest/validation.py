"""Validation of a batch: a narrow result per parsed record, and counts per file and reason."""

from collections import Counter
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Identifies a record; a file delivered again under its name has another arrived_at.
PLACE = ("file", "arrived_at", "position")
MOST_TO_BROADCAST = 500_000  # keys of 8 bytes, or places
IS_USABLE, IS_REJECTED = "reason IS NULL", "reason IS NOT NULL"


@dataclass(frozen=True)
class Span:
    """The number of usable records of a batch, and their first and last time in microseconds since 1970."""

    num_usable: int
    first_us: int | None
    last_us: int | None


@dataclass(frozen=True)
class ValidationSummary:
    """Counts of a batch: usable and rejected records by file, rejected ones by reason, and the span of usable ones."""

    usable: Counter[str]
    rejected: Counter[str]
    reasons: Counter[str]
    span: Span
    num_with_new_columns: int  # records with columns that the source does not know
    num_guests: int  # usable records of no customer

    @property
    def num_rejected(self) -> int:
        """Of the whole batch."""
        return self.rejected.total()

    @property
    def num_validated(self) -> int:
        """Of the whole batch, usable or not."""
        return self.usable.total() + self.rejected.total()


def validation_results(typed: DataFrame) -> DataFrame:
    """One row per parsed record: place, `reason`, `occurred_at`, `comes_twice`, `new_columns`, `is_guest`, `event_key`.

    Narrow, because it is read many times; the parsed records are as large as the batch.
    """
    is_guest = F.col("customer_id").isNull().alias("is_guest")
    more = ("comes_twice", "new_columns", is_guest, event_key().alias("event_key"))
    return typed.select(*PLACE, "reason", "occurred_at", *more)


def event_key() -> Column:
    """A 64-bit hash of event_id, to find candidate duplicates; among them the whole id decides."""
    return F.xxhash64("event_id")


def few(rows: DataFrame, *, num: int) -> DataFrame:
    """Broadcast keys or places where they are few: Spark would estimate them as large as what they came from."""
    return F.broadcast(rows) if num <= MOST_TO_BROADCAST else rows


def summarized(results: DataFrame) -> ValidationSummary:
    """Count in one pass over the results; the driver sees a row per file and reason."""
    times = (F.unix_micros(F.min("occurred_at")), F.unix_micros(F.max("occurred_at")))
    widened = F.count_if(F.col("new_columns").isNotNull())
    num_with_new_columns = num_guests = 0
    usable, rejected, reasons = Counter[str](), Counter[str](), Counter[str]()
    first, last = [], []
    groups = results.groupBy("file", "reason").agg(F.count("*"), *times, widened, F.count_if("is_guest"))
    for file, reason, num, first_us, last_us, num_wider, num_of_guests in groups.collect():
        num_with_new_columns += num_wider
        if reason is None:
            num_guests += num_of_guests
            usable[file] += num
            first.append(first_us)
            last.append(last_us)
        else:
            rejected[file] += num
            reasons[reason] += num
    span = Span(usable.total(), min(first, default=None), max(last, default=None))
    return ValidationSummary(usable, rejected, reasons, span, num_with_new_columns, num_guests)
