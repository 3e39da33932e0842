"""What `clm inspect` shows and writes: the draft with its reasons, and the first events that would come of it."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid

from clm_spark.errors import SettingsError, UserError
from clm_spark.events.ingest.parse import typed_events
from clm_spark.events.ingest.rejects import counts_listed, example_of_each
from clm_spark.inspection.draft import Draft, draft_of
from clm_spark.inspection.sample import Sample, read_sample
from clm_spark.keys import KeyChain
from clm_spark.sources.mapped import MappedSource
from clm_spark.sources.mapping import read_mapping
from clm_spark.sources.source import records_of, with_line_numbers

SHOWN_EVENTS = 20
SHOWN = ("kind", "happened", "customer", "item_id", "quantity", "amount", "order_id")


def inspect_log(spark: SparkSession, path: str, out: Console, *, write_to: Path | None) -> None:
    """Draft the mapping of a log, show why, and what it makes of the first records; write it where asked.

    Raises `UserError` where there is no log, or the file to write is there already.
    """
    if write_to is not None and write_to.exists():
        raise SettingsError(f"{write_to} is there already: name another file, or remove it")
    sample = read_sample(spark, path)
    draft = draft_of(sample)
    text = "\n".join(_lines(sample, draft)) + "\n"
    out.print(text, markup=False, highlight=False, soft_wrap=True)
    _show_events(spark, sample, text, out)
    for question in draft.open_questions:
        out.print(f"undecided: {question}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if write_to is not None:
        write_to.write_text(text, "utf-8")
        out.print(f"written to {write_to}", markup=False, highlight=False, soft_wrap=True)


def _lines(sample: Sample, draft: Draft) -> Iterator[str]:
    """The mapping as YAML, with its reasons as comments."""
    files = f"{sample.num_files} file{'s' if sample.num_files > 1 else ''}"
    yield f"# Drafted from {len(sample.records):,} records of {files}. conf/sources/example.yml explains every key."
    for question in draft.open_questions:
        yield f"# UNDECIDED: {question}"
    for key, value in draft.keys.items():
        if key in ("kind", "ignored") and key in draft.reasons:
            yield f"# {draft.reasons[key]}"
        if key == "fields":
            for name in ("time_zone", "guests", "renamed"):
                if name in draft.reasons:
                    yield f"# {draft.reasons[name]}"
            yield "fields:"
            for name, column in draft.fields.items():
                yield f"  {name}: {_scalar(column)} # {' '.join(draft.reasons.get(name, '').split())}"
        elif key == "kinds" and isinstance(value, dict):
            yield "kinds:"
            yield from (
                f"  {_scalar(word)}: {kind} # {draft.kinds.get(word, 0)} records" for word, kind in value.items()
            )
        elif isinstance(value, dict):
            yield f"{key}:"
            yield from (f"  {_scalar(name)}: {_scalar(column)}" for name, column in value.items())
        else:
            yield f"{key}: {_scalar(value)}"


def _scalar(value: object) -> str:
    """One line of YAML."""
    text = yaml.safe_dump(value, allow_unicode=True, width=1 << 20, default_flow_style=True)
    return text.removesuffix("...\n").strip()


def _show_events(spark: SparkSession, sample: Sample, text: str, out: Console) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "draft.yml"
        file.write_text(text, "utf-8")
        try:
            source = MappedSource(read_mapping(str(file)), name="draft")
            typed = _typed(spark, source, sample).cache()
            _print_events(typed, out)
        except UserError as error:
            out.print(f"the draft does not read the log yet: {error}", style="yellow", markup=False, soft_wrap=True)
            return
    counted = typed.groupBy("reason").count().collect()  # bounded by the list of reasons
    reasons = {row["reason"]: row["count"] for row in counted if row["reason"]}
    num_events = sum(row["count"] for row in counted) - sum(reasons.values())
    out.print(f"{num_events:,} of the first records are events", highlight=False)
    num_same = num_events - typed.where("reason IS NULL").select("event_id").distinct().count()
    if num_same:
        out.print(f"{num_same:,} of them repeat another (identical_records)", highlight=False)
    if reasons:
        example = example_of_each(typed, source)
        out.print(f"rejected: {counts_listed(reasons)}: {example}", style="yellow", markup=False, soft_wrap=True)
    typed.unpersist()


def _typed(spark: SparkSession, source: MappedSource, sample: Sample) -> DataFrame:
    """The first records as they would become; pseudonyms are by a key that is thrown away."""
    raw = records_of(with_line_numbers(source.read(spark, sample.files))).limit(len(sample.records) or 1)
    return typed_events(
        source.fields(raw),
        source=source.name,
        time_format=source.time_format,
        time_zone=source.time_zone,
        known_at="occurred",
        key=KeyChain((os.urandom(32),)),
    )


def _print_events(typed: DataFrame, out: Console) -> None:
    shown = typed.where("reason IS NULL").orderBy("file", "position").limit(SHOWN_EVENTS)
    named = shown.withColumns(
        {
            "happened": F.date_format("occurred_at", "yyyy-MM-dd HH:mm:ss"),
            "customer": F.substring("customer_id", 1, 8),
            "amount": F.format_number(F.col("amount_cents") / 100, 2),
        }
    )
    grid = Grid(*SHOWN, title="the first events, times in UTC, customers by pseudonym", title_justify="left")
    for row in named.select(*SHOWN).collect():  # bounded by `SHOWN_EVENTS`
        grid.add_row(*("" if cell is None else str(cell) for cell in row))
    out.print(grid)
