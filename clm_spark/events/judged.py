"""What the parser made of a batch: how many records of each file, and why the others cannot be used."""

from collections import Counter
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.duplicates import Span


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


def judged_records(typed: DataFrame) -> Judged:
    """One pass over parsed records; a row per file and reason passes the driver."""
    times = (F.unix_micros(F.min("occurred_at")), F.unix_micros(F.max("occurred_at")))
    widened = F.count_if(F.col("new_columns").isNotNull())
    num_widened = 0
    usable, rejected, reasons = Counter[str](), Counter[str](), Counter[str]()
    first, last = [], []
    groups = typed.groupBy("file", "reason").agg(F.count("*"), *times, widened)
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
