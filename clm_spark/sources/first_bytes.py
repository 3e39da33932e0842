"""The first bytes of files, wherever they lie, unpacked: read on the driver, many at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from clm_spark.errors import SourceError

T = TypeVar("T")
MOST_AT_ONCE = 16  # each waits for its file system


def first_bytes(spark: SparkSession, files: Sequence[str], *, num_bytes: int) -> list[bytes]:
    """At most so many bytes of each of a few files; raises as `from_first_bytes` does."""
    return from_first_bytes(spark, files, bytes, num_bytes=num_bytes)


def from_first_bytes(
    spark: SparkSession, files: Sequence[str], read: Callable[[bytes], T], *, num_bytes: int
) -> list[T]:
    """What is read from at most so many bytes of each file, in the order of the files; no more of them is held.

    Raises `SourceError` for a file that cannot be opened, is packed in another way than its ending says, or is cut off.
    """
    opener = _Opener(spark, num_bytes)
    with ThreadPoolExecutor(min(MOST_AT_ONCE, max(1, len(files)))) as pool:
        # No generator: one left unfinished would wait for the pool wherever the garbage collector finds it.
        return list(pool.map(lambda file: read(opener.content(file)), files))


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

    def content(self, file: str) -> bytes:
        path = self.path(file)
        codec = self.codecs.getCodec(path)
        try:
            with closing(path.getFileSystem(self.conf).open(path)) as stream:
                unpacked = codec.createInputStream(stream) if codec else stream
                return bytes(self.bytes_of(self.bounded(unpacked, self.num_bytes)))
        except Py4JJavaError as error:
            raise SourceError(_explained(file, error)) from None


def _explained(file: str, error: Py4JJavaError) -> str:
    came = " ".join(str(error.java_exception.getMessage()).split())
    if "EOFException" in error.java_exception.getClass().getName():
        return f"{file} cannot be read to its end ({came}): expected a whole file; restore or remove it"
    return f"{file} cannot be unpacked ({came}): restore it, or give it the right ending"
