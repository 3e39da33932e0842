"""The beginning of each file of a log: unpacked, and as text."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from charset_normalizer import from_bytes
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from clm_spark.errors import SourceError
from clm_spark.sources.text import BOM

MOST_BYTES = 1 << 18  # of each file
# What most shops outside UTF-8 write; others are left to charset-normalizer.
LIKELY = ("gb18030", "cp1252", "cp1250", "cp1251", "big5", "shift_jis", "euc_kr")


@dataclass(frozen=True)
class Beginning:
    """The first whole lines of a file."""

    url: str
    text: str
    encoding: str

    @property
    def name(self) -> str:
        """Of the file, without its folder."""
        return self.url.rsplit("/", 1)[-1]


def beginnings(spark: SparkSession, urls: Sequence[str]) -> list[Beginning]:
    """Those of the files that have any line. Raises `SourceError` where none has, or one cannot be read."""
    found = [each for url in urls if (each := _beginning(url, _content(spark, url))).text.strip()]
    if not found:
        raise SourceError(f"{urls[0]} has no line: expected records")
    return found


def _beginning(url: str, content: bytes) -> Beginning:
    is_whole = len(content) < MOST_BYTES
    end = max(content.rfind(b"\n"), content.rfind(b"\r")) + 1
    if not is_whole and not end:
        raise SourceError(f"{url} has no line end in its first {MOST_BYTES:,} bytes: expected a record a line")
    encoding = _encoding(content[:end] or content)
    text = content.decode(encoding, errors="replace").removeprefix(BOM)
    return Beginning(url, text if is_whole else text[: max(text.rfind("\n"), text.rfind("\r")) + 1], encoding)


def _encoding(lines: bytes) -> str:
    """The encoding of whole lines; of letters of ASCII alone UTF-8."""
    if lines.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if lines.count(b"\0") > len(lines) // 4:
        return "utf-16-be" if lines[:1] == b"\0" else "utf-16-le"
    try:
        lines.decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(lines, cp_isolation=list(LIKELY)).best() or from_bytes(lines).best()
        return "gbk" if best and best.encoding == "gb18030" else best.encoding if best else "latin-1"
    return "utf-8"


def _content(spark: SparkSession, url: str) -> bytes:
    jvm: Any = spark._jvm
    hadoop, io = jvm.org.apache.hadoop, jvm.org.apache.commons.io
    conf = spark._jsc.hadoopConfiguration()
    path = hadoop.fs.Path(url)
    try:
        codec = hadoop.io.compress.CompressionCodecFactory(conf).getCodec(path)
        with closing(path.getFileSystem(conf).open(path)) as stream:
            unpacked = codec.createInputStream(stream) if codec else stream
            return bytes(io.IOUtils.toByteArray(io.input.BoundedInputStream(unpacked, MOST_BYTES)))
    except Py4JJavaError as error:
        came = " ".join(str(error.java_exception.getMessage()).split())
        raise SourceError(
            f"{url} cannot be read or unpacked ({came}): restore it, or give it the right ending"
        ) from None
