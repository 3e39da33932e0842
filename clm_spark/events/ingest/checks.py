"""Refuse what must not be ingested: a second source, a wrong mapping, a batch of rejects, a damaged file."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import ContractError, SettingsError, SourceError
from clm_spark.events.ingest.claims import Batch
from clm_spark.events.ingest.history import is_long_after, last_day, shops_day
from clm_spark.events.ingest.parse import FILTERED, typed_records
from clm_spark.events.ingest.rejects import counts_listed, example_of_each
from clm_spark.events.ingest.validation import Span, ValidationSummary
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.sources.source import RawFile, Source, records_of, with_line_numbers
from clm_spark.tables.catalog import INGESTED_FILES
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)
SAMPLED_RECORDS = 1000
DAMAGED = re.compile(r"FAILED_READ_FILE\S*\s+Encountered error while reading file (\S+?)\.?\s")


def check_source(lake: Lake, source: Source) -> None:
    """Refuse a second source in one lakehouse, unless the settings allow it."""
    if lake.settings.ingest.joins_other_sources or not lake.exists(INGESTED_FILES):
        return
    others = lake.read(INGESTED_FILES).where(F.col("source") != source.name).select("source").limit(1).collect()
    if others:
        raise ContractError(
            f"lakehouse {lake.settings.lakehouse.path} holds events of source {others[0]['source']}, and {source.name} "
            "came: give another shop its own lakehouse.path and shop, or, if both logs are this shop's, "
            "set ingest.joins_other_sources=true"
        )


def check_usable(lake: Lake, source: Source, files: Sequence[RawFile], settings: Settings) -> None:
    """Refuse files of which no record can be used, before anything is written; name columns that no record has."""
    first = source.read(lake.spark, [file.url for file in files]).limit(SAMPLED_RECORDS)
    # The same thousand lines at every reading, so that they have the numbers that a reader of the file counts.
    with damage_named(), persisted(first) as lines, persisted(records_of(with_line_numbers(lines))) as raw:
        unseen = source.unseen(raw)
        with persisted(typed_records(raw, source, settings)) as typed:
            counted = typed.groupBy("reason").count().collect()  # bounded by the list of reasons
            reasons = Counter({row["reason"]: row["count"] for row in counted})
            num_rejected = reasons.total() - reasons[None] - reasons[FILTERED]
            is_sample_of_others = reasons[FILTERED] and num_rejected <= settings.ingest.tolerated_rejects
            if num_rejected and not reasons[None] and not is_sample_of_others:
                raise SourceError(
                    f"none of the first {reasons.total()} records at {settings.ingest.path!r} can be used as {source.name} "
                    f"({counts_listed(reasons)}): check ingest.source and, for source mapping, the mapping; nothing was "
                    "written",
                    example=example_of_each(typed, source),
                )
    if unseen:
        log.warning(
            "%s: none of the first %s records has a column %s: check the mapping, unless it is a rare one",
            source.name,
            f"{reasons.total():,}",
            ", ".join(unseen),
        )


def check_share_rejected(
    summary: ValidationSummary, typed: DataFrame, source: Source, batch: Batch, settings: Settings
) -> None:
    """Refuse a batch with too many unusable records, before silver changes; say of others what they are."""
    num_filtered = summary.reasons[FILTERED]
    num_rejected, num_wanted = summary.num_rejected - num_filtered, summary.num_validated - num_filtered
    if num_filtered:
        told = log.info if num_wanted else log.warning
        told(
            "batch %s: the mapping's filter leaves out %s of %s records",
            batch.batch_id,
            f"{num_filtered:,}",
            f"{summary.num_validated:,}",
        )
    if not num_rejected:
        return
    listed, ingest = counts_listed(summary.reasons), settings.ingest
    share = num_rejected / num_wanted
    unexplained = {reason: summary.reasons[reason] for reason in source.never_tolerated if summary.reasons[reason]}
    if unexplained and not batch.is_stream:
        raise SourceError(
            f"the mapping does not say what {sum(unexplained.values()):,} of {num_wanted:,} records of batch "
            f"{batch.batch_id} ({batch.files[0]} and on) are ({counts_listed(unexplained)}), and without them the money "
            "would be wrong: silver is unchanged: add a rule, or leave such records out by `filter`, and run again",
            example=example_of_each(typed, source, reasons=tuple(unexplained)),
        )
    # A step of a stream may be of three messages: it cannot be mended, and must not stop at one of them for good.
    is_small_part = share <= ingest.max_tolerated_share or batch.is_stream
    if share > ingest.max_rejected_share and not (num_rejected <= ingest.tolerated_rejects and is_small_part):
        raise SourceError(
            f"{num_rejected:,} of {num_wanted:,} records of batch {batch.batch_id} ({batch.files[0]} and on) "
            f"cannot be used ({listed}): expected at most {ingest.max_rejected_share:.0%}; silver is unchanged: correct the "
            "mapping and run again, or raise ingest.max_rejected_share",
            example=example_of_each(typed, source),
        )
    log.warning(
        "batch %s: %s of %s records cannot be used (%s): %s",
        batch.batch_id,
        f"{num_rejected:,}",
        f"{num_wanted:,}",
        listed,
        example_of_each(typed, source, is_logged=True),
    )


def check_as_of_is_near(lake: Lake, span: Span, batch: Batch, settings: Settings) -> None:
    """Refuse events that would count as known to a day long after the last one, as where as_of has a wrong year."""
    ingest, last_us = settings.ingest, span.last_us
    is_history = ingest.history_until is None or settings.as_of <= ingest.history_until
    if ingest.known_at != "ingested" or is_history or batch.is_stream or last_us is None:
        return
    last_on = max(filter(None, (shops_day(last_us, settings), last_day(lake, settings))))
    if is_long_after(settings.as_of, last_on, settings):
        raise SettingsError(
            f"the last event is of {last_on}, and as_of is {settings.as_of}: what comes now would count as known then; give "
            f"--as-of {last_on + timedelta(days=1)}, or raise shop.max_quiet_days (now {settings.shop.max_quiet_days}); silver is "
            "unchanged"
        )


@contextmanager
def damage_named() -> Iterator[None]:
    """Turn the stack trace of a truncated file into one line that names it."""
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        damaged = DAMAGED.search(str(error))
        if damaged is None:
            raise
        raise SourceError(
            f"{damaged[1]} cannot be read to its end: expected a whole file; restore or remove it, and run "
            "again; nothing of the files that arrived with it was ingested"
        ) from error
