"""CSV records that span lines: a quote that is left open at the end of a line, and the lines up to the one that closes it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Of one record. What is open beyond them is taken for a quote that was never closed.
MOST_LINES = 1_000
MOST_BYTES = 1 << 20
INSIDE_QUOTES = r'(?:[^"]++|"")*+'  # possessive, or Java would need a stack as deep as the cell is long


def left_open(record: Column, separator: str) -> Column:
    """Whether a CSV line ends inside quotes. They begin with a cell only, and a quote inside them is doubled."""
    quote, tail = F.lit('"'), F.substring_index(record, '"', -1)
    # Few lines need the regular expression: those whose last quote begins a cell or follows another quote.
    is_likely = (
        F.endswith(record, F.concat(F.lit(f'{separator}"'), tail))
        | F.endswith(record, F.concat(F.lit('""'), tail))
        | (record == F.concat(quote, tail))
    )
    return F.when(F.contains(record, quote), is_likely & F.rlike(record, F.lit(_open_at_end(separator)))).otherwise(
        F.lit(False)
    )


def lines_joined(lines: DataFrame) -> DataFrame:
    """Lines as records: those that a quote spans become one, with a line feed between them, at the place of the first.

    Needs `file`, `position`, `record`, `separator` and `is_open`. Only a quote that is closed at the end of a cell, within
    `MOST_LINES` and `MOST_BYTES`, spans lines; a line with another open quote is a record by itself, and so is the next.
    """
    # One task per file: whether a line begins inside quotes depends on all lines before it.
    in_order = lines.repartition("file").sortWithinPartitions("file", "position")
    # As bytes, for they need not be UTF-8.
    bytes_ = in_order.withColumn("record", F.col("record").cast("binary"))
    return bytes_.mapInArrow(_joined, bytes_.schema).withColumn("record", F.col("record").cast("string"))


@cache
def _open_at_end(separator: str) -> str:
    """A regular expression, of Java's as of Python's, for cells of which the last is an open quote."""
    cut = re.escape(separator)
    cell = f'"{INSIDE_QUOTES}"[^{cut}]*+|[^"{cut}][^{cut}]*+|'
    return f'^(?:(?:{cell}){cut})*+"{INSIDE_QUOTES}(?!")'


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    held: list[pa.RecordBatch] = []  # lines of a record whose end is in the next batch
    for batch in batches:
        lines = pa.Table.from_batches([*held, batch])
        spans, num_settled = _spans(lines, is_last=False)
        yield from _as_records(lines.slice(0, num_settled), spans).to_batches()
        held = lines.slice(num_settled).to_batches()
    if held:
        lines = pa.Table.from_batches(held)
        yield from _as_records(lines, _spans(lines, is_last=True)[0]).to_batches()


def _spans(lines: pa.Table, *, is_last: bool) -> tuple[list[tuple[int, int]], int]:
    """First and last line of each record of several lines, and how many lines need none of the next batch."""
    starts = np.flatnonzero(lines["is_open"])
    spans: list[tuple[int, int]] = []
    if not len(starts):
        return spans, len(lines)
    texts, files, separator = lines["record"].to_pylist(), lines["file"].to_pylist(), lines["separator"][0].as_py()
    num_settled = 0
    for first in starts.tolist():
        if first < num_settled:
            continue
        last = _last_line(texts, files, first, separator)
        if last == len(texts) and not is_last:
            return spans, first
        if last is not None and last < len(texts):
            spans.append((first, last))
            num_settled = last + 1
    return spans, len(lines)


def _last_line(texts: Sequence[bytes], files: Sequence[str], first: int, separator: str) -> int | None:
    """The line that closes the quote which a line leaves open: the next of all where it is not among these."""
    size = len(texts[first])
    for number in range(first + 1, len(texts)):
        size += len(texts[number])
        if files[number] != files[first] or number - first >= MOST_LINES or size > MOST_BYTES:
            return None
        stays_open = _stays_open(texts[number].decode(errors="surrogateescape"), separator)
        if stays_open is not True:
            return number if stays_open is False else None
    return len(texts)


def _stays_open(line: str, separator: str) -> bool | None:
    """Whether a line that begins inside quotes ends inside quotes; null where its quote is not closed at a cell's end."""
    inside = re.match(INSIDE_QUOTES, line)
    assert inside is not None  # it may be empty
    if inside.end() == len(line):
        return True
    rest = line[inside.end() + 1 :]
    if rest and not rest.startswith(separator):
        return None
    return re.match(_open_at_end(separator), rest[1:]) is not None


def _as_records(lines: pa.Table, spans: Sequence[tuple[int, int]]) -> pa.Table:
    if not spans:
        return lines
    texts, is_kept = lines["record"].to_pylist(), np.ones(len(lines), dtype=bool)
    for first, last in spans:
        texts[first] = b"\n".join(texts[first : last + 1])
        is_kept[first + 1 : last + 1] = False
    column = lines.schema.get_field_index("record")
    joined = lines.set_column(column, lines.schema.field(column), [pa.array(texts, lines.schema.field(column).type)])
    return joined.filter(pa.array(is_kept))
