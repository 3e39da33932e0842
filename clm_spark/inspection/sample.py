"""The beginning of a log, read without knowing what it is; bounded, so that the driver may look at every record of it."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from charset_normalizer import from_bytes
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from clm_spark.errors import SourceError
from clm_spark.sources.mapping import ENDINGS
from clm_spark.sources.parquet import parquet_rows
from clm_spark.sources.source import list_files
from clm_spark.sources.text import BOM, column_names

MOST_FILES = 6  # the first and the last by name: a log changes in time
MOST_BYTES = 1 << 18  # of each file
MOST_RECORDS = 2_000
SEPARATORS = (",", ";", "\t", "|")
# What most shops outside UTF-8 write; others are left to charset-normalizer.
LIKELY = ("gb18030", "cp1252", "cp1250", "cp1251", "big5", "shift_jis", "euc_kr")
CSV_NUMBER = set("0123456789.,-+:/ ")


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
    other_headers: tuple[str, ...] = ()  # of other files
    num_spanning_lines: int = 0  # records with a line break inside quotes

    @property
    def usual_columns(self) -> tuple[str, ...]:
        """The columns of the first file."""
        if self.header is None:
            return self.columns
        return tuple(column_names(self.header, separator=self.separator))


def read_sample(spark: SparkSession, path: str) -> Sample:
    """Look at a file or a folder of CSV, JSON lines or Parquet. Raises `SourceError` where there is nothing of the kind."""
    endings = tuple(dict.fromkeys(ending for of in ENDINGS.values() for ending in of))
    found = [file.url for file in list_files(spark, path, endings=endings)]
    by_ending = Counter(_format_of(url) for url in found)
    format_ = by_ending.most_common(1)[0][0]
    urls = [url for url in found if _format_of(url) == format_]
    some = urls if len(urls) <= MOST_FILES else [*urls[: MOST_FILES // 2], *urls[-(MOST_FILES // 2) :]]
    if format_ == "parquet":
        return _parquet(spark, some, len(urls))
    contents = [_beginning(spark, url) for url in some]
    encoding = _encoding(contents[0])
    texts = [_whole_lines(_decoded(content, encoding), len(content)) for content in contents]
    if texts[0].lstrip().startswith("{"):
        return _json(some, len(urls), texts, encoding)
    return _csv(some, len(urls), texts, encoding)


def _format_of(url: str) -> str:
    return next(name for name, endings in ENDINGS.items() if url.endswith(endings))


def _parquet(spark: SparkSession, urls: Sequence[str], num_files: int) -> Sample:
    rows = parquet_rows(spark, urls[:1]).select("record").limit(MOST_RECORDS).collect()
    return _of_objects("parquet", urls, num_files, [json.loads(row["record"]) for row in rows], "utf-8")


def _json(urls: Sequence[str], num_files: int, texts: Sequence[str], encoding: str) -> Sample:
    objects = []
    for text in texts:
        for line in text.splitlines():
            try:
                value = json.loads(line, parse_float=str, parse_int=str)
            except json.JSONDecodeError:
                continue
            if isinstance(value, dict):
                objects.append(value)
    if not objects:
        raise SourceError(f"{urls[0]} begins like JSON, and no line of it is an object: expected one object a line")
    return _of_objects("jsonl", urls, num_files, objects[:MOST_RECORDS], encoding)


def _of_objects(
    format_: Literal["jsonl", "parquet"], urls: Sequence[str], num_files: int, objects: Sequence[Any], encoding: str
) -> Sample:
    flat = [dict(_members(each)) for each in objects]
    columns = tuple(dict.fromkeys(name for each in flat for name in each))
    records = tuple({name: each.get(name) for name in columns} for each in flat)
    return Sample(format_, tuple(urls), num_files, columns, records, encoding)


def _members(value: dict[str, Any], above: str = "") -> list[tuple[str, str | None]]:
    """Every member by its path, lists as JSON."""
    found: list[tuple[str, str | None]] = []
    for name, each in value.items():
        if isinstance(each, dict):
            found += _members(each, f"{above}{name}.")
        else:
            text = each if isinstance(each, str) or each is None else json.dumps(each)
            found.append((f"{above}{name}", text))
    return found


def _csv(urls: Sequence[str], num_files: int, texts: Sequence[str], encoding: str) -> Sample:
    separator = _separator(texts[0])
    tables = [[row for row in csv.reader(io.StringIO(text), delimiter=separator) if row] for text in texts]
    if not tables[0]:
        raise SourceError(f"{urls[0]} has no line: expected records")
    header = texts[0].lstrip("\r\n").splitlines()[0] if _is_header(tables[0]) else None
    width = Counter(map(len, tables[0])).most_common(1)[0][0]
    usual = column_names(header, separator=separator) if header else [f"column_{n + 1}" for n in range(width)]
    records, others, num_spanning = [], dict[str, None](), 0
    for text, rows in zip(texts, tables, strict=True):
        names = usual
        if header and rows:
            own = text.lstrip("\r\n").splitlines()[0]
            names = column_names(own, separator=separator)
            if own != header:
                others[own] = None
        for row in rows[1 if header else 0 :]:
            num_spanning += any("\n" in cell for cell in row)
            if len(row) == len(names) or (len(row) == len(names) + 1 and not row[-1]):
                records.append(dict(zip(names, row, strict=False)))
    columns = tuple(dict.fromkeys([*usual, *(name for each in records for name in each)]))
    return Sample(
        "csv",
        tuple(urls),
        num_files,
        columns,
        tuple({name: each.get(name) for name in columns} for each in _spread(records)),
        encoding,
        separator,
        header,
        tuple(others),
        num_spanning,
    )


def _spread(records: Sequence[dict[str, str]]) -> Sequence[dict[str, str]]:
    """At most `MOST_RECORDS`, from all of them."""
    step = max(1, len(records) // MOST_RECORDS)
    return records[::step][:MOST_RECORDS]


def _separator(text: str) -> str:
    """The sign that cuts most lines into the same number of cells, more than one."""

    def evenness(sign: str) -> tuple[int, int]:
        widths = Counter(len(row) for row in csv.reader(io.StringIO(text[:20_000]), delimiter=sign) if row)
        width, num = widths.most_common(1)[0] if widths else (1, 0)
        return (num if width > 1 else 0, width)

    return max(SEPARATORS, key=evenness)


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line names columns: none of its cells is a number or a time, and most differ."""
    first = [cell for cell in rows[0] if cell]
    looks_like_values = any(set(cell) <= CSV_NUMBER for cell in first)
    return bool(first) and not looks_like_values and rows[0] not in rows[1:]


def _beginning(spark: SparkSession, url: str) -> bytes:
    jvm: Any = spark._jvm
    hadoop, io_ = jvm.org.apache.hadoop, jvm.org.apache.commons.io
    conf = spark._jsc.hadoopConfiguration()
    path = hadoop.fs.Path(url)
    codec = hadoop.io.compress.CompressionCodecFactory(conf).getCodec(path)
    stream = path.getFileSystem(conf).open(path)
    try:
        unpacked = codec.createInputStream(stream) if codec else stream
        return bytes(io_.IOUtils.toByteArray(io_.input.BoundedInputStream(unpacked, MOST_BYTES)))
    except Py4JJavaError as error:
        came = str(error.java_exception.getMessage())
        raise SourceError(f"{url} cannot be unpacked ({came}): restore it, or give it the right ending") from None
    finally:
        stream.close()


def _encoding(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    whole = content[: content.rfind(b"\n") + 1] or content
    try:
        whole.decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(whole, cp_isolation=list(LIKELY)).best() or from_bytes(whole).best()
        return "gbk" if best and best.encoding == "gb18030" else best.encoding if best else "latin-1"
    return "utf-16-le" if whole.count(b"\0") > len(whole) // 4 else "utf-8"


def _decoded(content: bytes, encoding: str) -> str:
    return content.decode(encoding, errors="replace").removeprefix(BOM)


def _whole_lines(text: str, num_bytes: int) -> str:
    """Without the last line where it may be cut."""
    return text if num_bytes < MOST_BYTES else text[: text.rfind("\n") + 1]
