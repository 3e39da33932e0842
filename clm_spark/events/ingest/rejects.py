"""What is said of records that cannot be used: how many for each reason, and one of them with what would mend it."""

from collections.abc import Collection, Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.ingest.claims import KAFKA
from clm_spark.events.ingest.parse import FILTERED, MONEY
from clm_spark.events.ingest.validation import IS_REJECTED
from clm_spark.sources.source import TEXT_FIELDS, Source
from clm_spark.tables.catalog import REJECT_REASONS

NAMING = ("customer_id", "visitor_id")
MOST_OF_A_RECORD = 160  # characters that are shown
OF_RECORD = ("file", "position", "arrived_at", "header", "record")
# The fields that a reason is about.
FIELDS_OF = {
    "missing_customer": ("customer_id", "visitor_id"),
    "missing_item": ("item_id",),
    "unknown_kind": ("kind",),
    "impossible_time": ("occurred_at", "known_at", "sent_at"),
    "bad_number": ("quantity", *MONEY),
    "negative_quantity": ("quantity", *MONEY),
    "too_late": ("known_at",),
}


def counts_listed(reasons: Mapping[str, int]) -> str:
    """`missing_customer 25, bad_number 1`."""
    return ", ".join(f"{reason} {num:,}" for reason, num in sorted(reasons.items()))


def example_of_each(
    typed: DataFrame, source: Source, *, reasons: Collection[str] = REJECT_REASONS, is_logged: bool = False
) -> str:
    """For each of these reasons one rejected record of parsed ones, by its file and place, and what to do about it.

    The driver sees a record per reason. What is logged is stored: it has neither the record nor the customer's ids.
    """
    rejected = typed.where(IS_REJECTED).where(F.col("reason") != FILTERED)
    first = F.min_by(F.struct(*OF_RECORD), F.struct("file", "position")).alias("first")
    examples = rejected.groupBy("reason").agg(first).select("reason", "first.*")
    found = {row["reason"]: row for row in examples.collect()}
    if not found:
        return ""
    told = source.fields(examples.select(*OF_RECORD)).select("file", "position", *TEXT_FIELDS)
    texts = {(row["file"], row["position"]): row for row in told.collect()}
    lines = []
    for reason in (each for each in reasons if each in found):
        row = found[reason]
        said = texts[row["file"], row["position"]]
        values = {name: said[name] for name in FIELDS_OF.get(reason, ())}
        place = f"{row['file'].rsplit('/', 1)[-1]} {'offset' if row['file'].startswith(KAFKA) else 'line'} {row['position']}"
        record = "" if is_logged else f" is {_shortened(row['record'])!r}"
        advice = source.advice(reason, values)
        lines.append(f"{reason}: {place}{record}{_read_as(values)}{advice and f': {advice}'}")
    return "; ".join(lines)


def _shortened(record: str | None) -> str:
    text = " ".join((record or "").split())
    return f"{text[:MOST_OF_A_RECORD]} ..." if len(text) > MOST_OF_A_RECORD else text


def _read_as(values: Mapping[str, str | None]) -> str:
    read = [f"{name} {value!r}" for name, value in values.items() if value is not None and name not in NAMING]
    return f", read as {', '.join(read)}" if read else ""
