"""The first records of a log, read without knowing what it is; bounded, so that the driver may look at each of them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pyspark.sql import SparkSession

from clm_spark.errors import SourceError
from clm_spark.inspection.beginning import Beginning, beginnings
from clm_spark.inspection.objects import Objects, json_objects, parquet_objects
from clm_spark.inspection.tables import tables_of
from clm_spark.sources.mapping import ENDINGS
from clm_spark.sources.source import RawFile, list_files
from clm_spark.sources.text import column_names

MOST_FILES = 6  # the first and the last by name: a log changes in time
MOST_RECORDS = 2_000
MOST_COLUMNS = 500
MOST_MISFITS = 0.1
EVERY_ENDING = tuple(dict.fromkeys(ending for of in ENDINGS.values() for ending in of))


@dataclass(frozen=True)
class Sample:
    """The first records of a log, by column, and how they are written."""

    format: Literal["csv", "jsonl", "parquet"]
    files: tuple[str, ...]  # that were looked at
    num_files: int
    columns: tuple[str, ...]
    records: tuple[dict[str, str | None], ...]
    encoding: str = "utf-8"
    separator: str = ","
    header: str | None = None  # the first line as it is written
    endings: tuple[str, ...] = ()  # where the mapping has to name them
    first_columns: tuple[str, ...] = ()  # of the first file, where no header tells and not all files have the same
    number_columns: frozenset[str] = frozenset()  # numbers by their type, however they look
    other_columns: tuple[tuple[str, ...], ...] = ()  # of files that have not the columns of the first
    num_spanning_lines: int = 0  # records with a line break inside quotes
    open_questions: tuple[str, ...] = ()

    @property
    def usual_columns(self) -> tuple[str, ...]:
        """The columns of the first file."""
        if self.header is None:
            return self.first_columns or self.columns
        return tuple(column_names(self.header, separator=self.separator))


def read_sample(spark: SparkSession, path: str) -> Sample:
    """Look at a file or a folder of CSV, JSON lines or Parquet. Raises `SourceError` where there is nothing of the kind."""
    found = list_files(spark, path, endings=EVERY_ENDING)
    kind = _largest_kind(found)
    urls = [file.url for file in found if _kind_of(file.url) == kind]
    others = [file.url.rsplit("/", 1)[-1] for file in found if _kind_of(file.url) != kind]
    some = urls if len(urls) <= MOST_FILES else [*urls[: MOST_FILES // 2], *urls[-(MOST_FILES // 2) :]]
    if kind == ".parquet":
        sample = _of_objects("parquet", some, parquet_objects(spark, some, most=MOST_RECORDS // len(some)))
    else:
        sample = _of_text(kind, beginnings(spark, some))
    usual = ENDINGS[sample.format]
    own = tuple(ending for ending in EVERY_ENDING if _kind_of(ending) == kind)
    is_usual = {*own} <= {*usual} and not any(name.endswith(usual) for name in others)
    is_left_out = (
        f"{_listed(others, 'is', 'are')} left out: a mapping reads files of one kind, and most are {kind}"
        if others
        else ""
    )
    return replace(
        sample,
        num_files=len(urls),
        endings=() if is_usual else own,
        open_questions=(*filter(None, [is_left_out]), *sample.open_questions),
    )


def _kind_of(url: str) -> str:
    """The ending without that of a packed file."""
    longest = max((ending for ending in EVERY_ENDING if url.endswith(ending)), key=len)
    return re.sub(r"\.(?:gz|bz2)$", "", longest)


def _largest_kind(files: Sequence[RawFile]) -> str:
    sizes = Counter[str]()
    for file in files:
        sizes[_kind_of(file.url)] += file.size_bytes
    return max(sizes, key=lambda kind: sizes[kind])


def _of_text(kind: str, found: Sequence[Beginning]) -> Sample:
    first, urls = found[0], [each.url for each in found]
    encodings = dict.fromkeys(each.encoding for each in found if not each.text.isascii()) or {"utf-8": None}
    encoding = "utf-16" if any(each.encoding == "utf-16" for each in found) else next(iter(encodings))
    begins = first.text.lstrip()
    if re.match(r"\[\s*[{\[]", begins):
        raise SourceError(f"{first.url} is one array of JSON: expected an object a line, without brackets around them")
    if begins.startswith("{"):
        sample = _of_objects("jsonl", urls, json_objects(found))
    elif kind in ENDINGS["jsonl"]:
        raise SourceError(f"{first.url} is not JSON: expected an object a line, or an ending such as .csv")
    else:
        sample = _of_tables(found)
    if len(encodings) < 2:
        return replace(sample, encoding=encoding)
    question = f"the files are written in {' and '.join(encodings)}: a mapping reads one encoding"
    return replace(sample, encoding=encoding, open_questions=(*sample.open_questions, question))


def _of_objects(format_: Literal["jsonl", "parquet"], urls: Sequence[str], objects: Objects) -> Sample:
    counts = Counter(name for record in objects.records for name in record)
    frequent = {name for name, _ in counts.most_common(MOST_COLUMNS)}
    columns = tuple(name for name in counts if name in frequent)
    if not objects.records:
        raise SourceError(f"{urls[0]} has no record: expected one object a line")
    return Sample(
        format_,
        tuple(urls),
        len(urls),
        columns,
        tuple({name: record.get(name) for name in columns} for record in _spread(objects.records)),
        first_columns=tuple(name for name in objects.first_columns if name in frequent),
        number_columns=objects.number_columns,
        other_columns=objects.other_columns,
        open_questions=_misfits(objects.num_unreadable, len(objects.records), "no JSON object"),
    )


def _of_tables(found: Sequence[Beginning]) -> Sample:
    separator, tables = tables_of(found)
    first = tables[0]
    alike = [table for table in tables if {*table.names} & {*first.names} - {""}]
    records = [record for table in alike for record in table.records]
    if len(first.names) == 1:
        raise SourceError(
            f"neither comma, semicolon, tab nor | cuts most lines of {first.url} into as many columns: expected CSV, JSON "
            "lines or Parquet"
        )
    if not records:
        raise SourceError(f"{first.url} has no record: expected lines of the columns {', '.join(first.names)[:200]!r}")
    columns = tuple(dict.fromkeys(name for table in alike for name in table.names))
    misfits = sum(table.num_misfits for table in alike)
    return Sample(
        "csv",
        tuple(table.url for table in alike),
        len(found),
        columns,
        tuple({name: record.get(name) for name in columns} for record in _spread(records)),
        separator=separator,
        header=first.header,
        other_columns=tuple(dict.fromkeys(table.names for table in alike if table.names != first.names)),
        num_spanning_lines=sum(table.num_spanning_lines for table in alike),
        open_questions=(
            *_strangers([table.name for table in tables if table not in alike], first.name),
            *_misfits(misfits, len(records), "of another number of columns than the first"),
        ),
    )


def _strangers(names: Sequence[str], first: str) -> tuple[str, ...]:
    if not names:
        return ()
    return (
        f"{_listed(names, 'has', 'have')} no column of {first}, and a run refuses them together: move one elsewhere",
    )


def _misfits(num: int, num_records: int, what: str) -> tuple[str, ...]:
    if num <= MOST_MISFITS * (num + num_records):
        return ()
    return (f"{num:,} of {num + num_records:,} lines are {what}: they are rejected as unparsable",)


def _listed(names: Sequence[str], verb: str, plural: str) -> str:
    return f"{names[0]} {verb}" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more {plural}"


def _spread(records: Sequence[Any]) -> Sequence[Any]:
    """At most `MOST_RECORDS`, from all of them."""
    step = -(-len(records) // MOST_RECORDS) or 1
    return records[::step][:MOST_RECORDS]
