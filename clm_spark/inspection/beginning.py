"""The beginning of each file of a log: unpacked, and as text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from charset_normalizer import from_bytes
from pyspark.sql import SparkSession

from clm_spark.errors import SourceError
from clm_spark.sources.encodings import BOM, BYTE_ORDERS, encoding_name, with_byte_order
from clm_spark.sources.first_bytes import first_bytes

MOST_BYTES = 1 << 18  # of each file
# What most shops outside UTF-8 write, the likeliest first; others are left to charset-normalizer.
LIKELY = ("cp1252", "gb18030", "cp1250", "cp1251", "big5", "shift_jis", "euc_kr")


@dataclass(frozen=True)
class Beginning:
    """The first whole lines of a file."""

    url: str
    text: str
    encoding: str  # as a mapping names it

    @property
    def name(self) -> str:
        """Of the file, without its folder."""
        return self.url.rsplit("/", 1)[-1]


def beginnings(spark: SparkSession, urls: Sequence[str]) -> list[Beginning]:
    """Those of the files that have any line. Raises `SourceError` where none has, or one cannot be read."""
    contents = first_bytes(spark, urls, num_bytes=MOST_BYTES)
    files = [beginning(url, content) for url, content in zip(urls, contents, strict=True)]
    found = [file for file in files if file.text.strip()]
    if not found:
        raise SourceError(f"{urls[0]} has no line: expected records")
    return found


def beginning(url: str, content: bytes) -> Beginning:
    """The whole lines of what was read of a file. Raises `SourceError` where no line ends in so many bytes."""
    end = max(content.rfind(b"\n"), content.rfind(b"\r")) + 1
    if len(content) < MOST_BYTES:
        end = len(content)
    elif not end:
        raise SourceError(f"{url} has no line end in its first {MOST_BYTES:,} bytes: expected a record a line")
    encoding = _encoding(content[:end])
    text = content[:end].decode(with_byte_order(encoding, content), errors="replace")
    return Beginning(url, text.removeprefix(BOM), encoding)


def _encoding(lines: bytes) -> str:
    """The encoding of whole lines; of letters of ASCII alone UTF-8."""
    if lines.startswith((*BYTE_ORDERS,)) or lines.count(b"\0") > len(lines) // 4:
        return "utf-16"
    try:
        lines.decode("utf-8")
    except UnicodeDecodeError:
        return next(_readable(lines), "latin-1")
    return "utf-8"


def _readable(lines: bytes) -> Iterator[str]:
    """What it may be, the likeliest first, of what the log can be read in."""
    for isolated in ([*LIKELY], None):
        fitting = [
            (match.chaos, -match.coherence, LIKELY.index(name) if name in LIKELY else len(LIKELY), name)
            for match in from_bytes(lines, cp_isolation=isolated)
            for name in match.could_be_from_charset
        ]
        for *_, name in sorted(fitting):
            try:
                encoding_name(name)
            except ValueError:
                continue
            yield "gbk" if name == "gb18030" else name
