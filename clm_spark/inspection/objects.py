"""Records of JSON lines and Parquet, by the paths of their members."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from clm_spark.errors import SourceError
from clm_spark.inspection.beginning import Beginning
from clm_spark.sources.parquet import parquet_rows
from clm_spark.sources.paths import literal

LINE_END = re.compile(r"\r\n|\r|\n")


class _Number(str):
    """A number as it is written in JSON, without quotes."""


@dataclass(frozen=True)
class Objects:
    """The records of some files: a text or nothing for each path."""

    records: list[dict[str, str | None]]
    number_columns: frozenset[str]
    first_columns: tuple[str, ...] = ()  # where files have columns: of the first, and of those that differ
    other_columns: tuple[tuple[str, ...], ...] = ()
    num_unreadable: int = 0


def json_objects(files: Sequence[Beginning]) -> Objects:
    """Those of the lines that are a JSON object each."""
    lines = [line for file in files for line in LINE_END.split(file.text) if line.strip()]
    found = [record for line in lines if (record := _record(line)) is not None]
    if not found:
        raise SourceError(
            f"{files[0].url} begins like JSON, and no line of it is an object: expected one object a line"
        )
    are_numbers: dict[str, bool] = defaultdict(lambda: True)
    for record in found:
        for name, text in record.items():
            are_numbers[name] &= text is None or isinstance(text, _Number)
    numbers = frozenset(name for name, is_number in are_numbers.items() if is_number)
    return Objects(found, numbers, num_unreadable=len(lines) - len(found))


def parquet_objects(spark: SparkSession, urls: Sequence[str], *, most: int) -> Objects:
    """The first rows of each file. Raises `SourceError` where one cannot be read."""
    records: list[dict[str, str | None]] = []
    columns, numbers = [], frozenset[str]()
    for url in urls:
        try:
            rows = parquet_rows(spark, [url]).select("record").limit(most).collect()
            paths = dict(_paths(spark.read.parquet(literal(url)).schema))
        except (Py4JJavaError, PySparkException) as error:
            raise SourceError(f"{url} cannot be read as Parquet: {str(error).splitlines()[0]}; restore it") from None
        records += [record for row in rows if (record := _record(row["record"])) is not None]
        columns.append(tuple(paths))
        numbers |= {path for path, kind in paths.items() if isinstance(kind, T.NumericType)}
    others = tuple(dict.fromkeys(each for each in columns if each != columns[0]))
    return Objects(records, numbers, columns[0], others)


def _paths(struct: T.StructType, above: str = "") -> Iterator[tuple[str, T.DataType]]:
    for member in struct:
        path = f"{above}{member.name}"
        if isinstance(member.dataType, T.StructType):
            yield from _paths(member.dataType, f"{path}.")
        else:
            yield path, member.dataType


def _record(line: str) -> dict[str, str | None] | None:
    """The members by their paths; none where the line is no object."""
    try:
        value = json.loads(line, parse_float=_Number, parse_int=_Number)
        return dict(_members(value)) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None


def _members(value: dict[str, Any], above: str = "") -> Iterator[tuple[str, str | None]]:
    """Lists as JSON."""
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _members(each, f"{above}{name}.")
        else:
            yield f"{above}{name}", each if isinstance(each, str) or each is None else json.dumps(each)
