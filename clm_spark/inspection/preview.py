"""What `clm inspect` shows and writes: the draft with its reasons, and the first events that would come of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from clm_spark.errors import SettingsError, UserError
from clm_spark.events.ingest.checks import damage_named
from clm_spark.events.ingest.parse import typed_events
from clm_spark.events.ingest.rejects import counts_listed, example_of_each
from clm_spark.inspection.as_yaml import mapping_yaml, questions_yaml, shown
from clm_spark.inspection.draft import draft_of
from clm_spark.inspection.sample import MOST_RECORDS, Sample, read_sample
from clm_spark.keys import KeyChain
from clm_spark.session import persisted
from clm_spark.sources.mapped import MappedSource
from clm_spark.sources.mapping import read_mapping
from clm_spark.sources.source import records_of, with_line_numbers

SHOWN_EVENTS = 20
SHOWN = ("kind", "happened", "customer", "item_id", "quantity", "amount", "order_id")


def inspect_log(spark: SparkSession, path: str, out: Console, *, write_to: Path | None) -> None:
    """Draft the mapping of a log, show why, and what it makes of the first records; write it where asked.

    Raises `UserError` where there is no log, or the file cannot be written or is there already.
    """
    if write_to is not None:
        _check_place(write_to)
    sample = read_sample(spark, path)
    draft = draft_of(sample)
    text = mapping_yaml(sample, draft)
    _print(text, out)
    if draft.is_readable:
        _show_events(spark, sample, text, out)
    for question in draft.open_questions:
        _print(f"undecided: {shown(question)}", out, style="yellow")
    if write_to is not None:
        with _written(write_to):
            write_to.write_text(questions_yaml(draft) + text, "utf-8")
        _print(f"written to {write_to}", out)


def _check_place(file: Path) -> None:
    with _written(file):
        if file.exists():
            raise SettingsError(f"{file} is there already: name another file, or remove it")
        if not file.parent.is_dir():
            raise SettingsError(f"there is no folder {file.parent}: make it, or name a file elsewhere")


@contextmanager
def _written(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{file} cannot be written ({error.strerror}): name a file elsewhere") from None


def _print(text: str, out: Console, *, style: str | None = None) -> None:
    out.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _show_events(spark: SparkSession, sample: Sample, text: str, out: Console) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "draft"
        file.write_text(text, "utf-8")
        try:
            source = MappedSource(read_mapping(str(file)), name="draft")
            first = source.read(spark, sample.files).limit(MOST_RECORDS + len(sample.files))  # with their headers
            with damage_named(), persisted(first) as lines, persisted(_typed(lines, source)) as typed:
                _print_events(typed, source, out)
        except UserError as error:
            message = shown(str(error).replace(f"{folder}/", ""))
            _print(f"the draft does not read the log yet: {message}", out, style="yellow")


def _typed(lines: DataFrame, source: MappedSource) -> DataFrame:
    """What would become of them; pseudonyms are by a key that is thrown away."""
    return typed_events(
        source.fields(records_of(with_line_numbers(lines))),
        source=source.name,
        time_format=source.time_format,
        time_zone=source.time_zone,
        known_at="occurred",
        key=KeyChain((os.urandom(32),)),
    )


def _print_events(typed: DataFrame, source: MappedSource, out: Console) -> None:
    """The first events, how many there are, and of each reason to reject a record one such."""
    counted = typed.groupBy("reason").count().collect()  # bounded by the list of reasons
    reasons = {row["reason"]: row["count"] for row in counted if row["reason"]}
    num_records = sum(row["count"] for row in counted)
    num_events = num_records - sum(reasons.values())
    if num_events:
        _print("the first events, times in UTC, customers by pseudonym:", out)
        out.print(_grid(typed))
    _print(f"{num_events:,} of the first {num_records:,} records are events", out)
    num_same = num_events - typed.where("reason IS NULL").select("event_id").distinct().count()
    if num_same:
        _print(f"{num_same:,} of them repeat another: `identical_records` says which of such are one", out)
    if reasons:
        _print(f"rejected: {counts_listed(reasons)}", out, style="yellow")
        _print(shown(example_of_each(typed, source)), out, style="yellow")


def _grid(typed: DataFrame) -> Grid:
    first = typed.where("reason IS NULL").orderBy("file", "position").limit(SHOWN_EVENTS)
    named = first.withColumns(
        {
            "happened": F.date_format("occurred_at", "yyyy-MM-dd HH:mm:ss"),
            "customer": F.substring("customer_id", 1, 8),
            "amount": F.format_number(F.col("amount_cents") / 100, 2),
        }
    )
    rows = named.select(*SHOWN).collect()  # bounded by `SHOWN_EVENTS`
    filled = [name for name in SHOWN if any(row[name] is not None for row in rows)]
    grid = Grid(*filled)
    for row in rows:
        # As text: what stands in square brackets is no colour.
        grid.add_row(*(Text("" if row[name] is None else shown(str(row[name]))) for name in filled))
    return grid
