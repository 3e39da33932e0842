"""The first bytes of files, wherever they lie, plain or compressed: read on the driver, many at a time."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from clm_spark.errors import SourceError

MOST_AT_ONCE = 16  # each waits for its file system


def beginnings(spark: SparkSession, files: Sequence[str], *, num_bytes: int) -> Iterator[bytes]:
    """The first bytes of each file, in the order of the files. Raises `SourceError` for what cannot be unpacked."""
    opened = _Opener(spark, num_bytes)
    with ThreadPoolExecutor(min(MOST_AT_ONCE, max(1, len(files)))) as pool:
        yield from pool.map(opened.beginning, files)


class _Opener:
    """Hadoop's classes, looked up once for all files."""

    def __init__(self, spark: SparkSession, num_bytes: int) -> None:
        jvm: Any = spark._jvm
        self.num_bytes = num_bytes
        self.conf = spark._jsc.hadoopConfiguration()
        self.path = jvm.org.apache.hadoop.fs.Path
        self.codecs = jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(self.conf)
        self.bounded = jvm.org.apache.commons.io.input.BoundedInputStream
        self.bytes_of = jvm.org.apache.commons.io.IOUtils.toByteArray

    def beginning(self, file: str) -> bytes:
        path = self.path(file)
        codec = self.codecs.getCodec(path)
        stream = path.getFileSystem(self.conf).open(path)
        try:
            unpacked = codec.createInputStream(stream) if codec else stream
            return bytes(self.bytes_of(self.bounded(unpacked, self.num_bytes)))
        except Py4JJavaError as error:
            came = str(error.java_exception.getMessage())
            raise SourceError(f"{file} cannot be unpacked ({came}): restore it, or give it the right ending") from None
        finally:
            stream.close()
