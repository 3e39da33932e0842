"""The beginning of a CSV file, cut into columns."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clm_spark.errors import SourceError
from clm_spark.inspection.beginning import Beginning
from clm_spark.inspection.times import ISO
from clm_spark.sources.text import column_names

SEPARATORS = (",", ";", "\t", "|")
LOOKED_AT = 20_000  # characters, for the separator
NUMBER_LETTERS = set("0123456789.,-+:/ ")
LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Table:
    """The lines of a file under the names of its columns."""

    url: str
    header: str | None  # the first line as it is written, where it is one
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # without the header

    @property
    def name(self) -> str:
        """Of the file, without its folder."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def records(self) -> list[dict[str, str]]:
        """The lines that fit. One separator too many at the end of a line is no column."""
        return [dict(zip(self.names, row, strict=False)) for row in self.rows if self._fits(row)]

    @property
    def num_misfits(self) -> int:
        """Lines that have more or fewer columns."""
        return sum(not self._fits(row) for row in self.rows)

    @property
    def num_spanning_lines(self) -> int:
        """Records with a line break inside quotes."""
        return sum(any("\n" in cell or "\r" in cell for cell in row) for row in self.rows)

    def _fits(self, row: Sequence[str]) -> bool:
        return len(row) == len(self.names) or (len(row) == len(self.names) + 1 and not row[-1])


def tables_of(files: Sequence[Beginning]) -> tuple[str, list[Table]]:
    """The separator and the files, all with a header or all without, as the first is.

    Raises `SourceError` where a header cannot be read.
    """
    separator = _separator(files[0].text)
    cut = [tuple(_rows(file.text, separator)) for file in files]
    if _is_header(cut[0]):
        return separator, [_under_header(file, rows, separator) for file, rows in zip(files, cut, strict=True)]
    width = Counter(map(len, cut[0])).most_common(1)[0][0]
    names = tuple(f"column_{place + 1}" for place in range(width))
    return separator, [Table(file.url, None, names, rows) for file, rows in zip(files, cut, strict=True)]


def _under_header(file: Beginning, rows: Sequence[tuple[str, ...]], separator: str) -> Table:
    if not rows[0] or any(LINE_END.search(cell) for cell in rows[0]):
        raise SourceError(f"{file.url} begins with an open quote, or a header of several lines: write it on one line")
    header = next(filter(None, LINE_END.split(file.text)))
    return Table(file.url, header, tuple(column_names(header, separator=separator)), tuple(rows[1:]))


def _rows(text: str, separator: str) -> Iterator[tuple[str, ...]]:
    """The lines that are not empty; one that cannot be cut, as a quote is open, has no cell."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield ()
            continue
        if row:
            yield tuple(row)


def _separator(text: str) -> str:
    """The sign that cuts most lines into the same number of cells, more than one."""

    def evenness(sign: str) -> tuple[int, int]:
        widths = Counter(map(len, _rows(text[:LOOKED_AT], sign)))
        width, num = widths.most_common(1)[0] if widths else (1, 0)
        return (num if width > 1 else 0, width)

    return max(SEPARATORS, key=evenness)


def _is_header(rows: Sequence[tuple[str, ...]]) -> bool:
    """Whether the first line names columns: no cell is a number, a time or an address, and few come again below."""
    first = [(place, cell) for place, cell in enumerate(rows[0]) if cell]
    if not first or any(set(cell) <= NUMBER_LETTERS or ISO.match(cell) or "@" in cell for _, cell in first):
        return False
    below = [row for row in rows[1:] if row != rows[0]]  # people concatenate files
    again = [place for place, cell in first if any(row[place : place + 1] == (cell,) for row in below)]
    return len(again) < len(first) / 2
