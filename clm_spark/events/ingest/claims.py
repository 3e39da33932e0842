"""Which files are new, and the batches that they are ingested in; a claim is a row of bronze.ingested_files."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.sources.source import RawFile, Source
from clm_spark.tables.catalog import COUNTS, INGESTED_BATCHES, INGESTED_FILES
from clm_spark.tables.lake import Lake

KAFKA = "kafka://"


@dataclass(frozen=True)
class Batch:
    """Files that are ingested together."""

    batch_id: str
    files: tuple[str, ...]

    @property
    def is_stream(self) -> bool:
        """Whether it is a step of a Kafka topic."""
        return self.files[0].startswith(KAFKA)


def new_files(lake: Lake, files: Sequence[RawFile], source: Source) -> list[RawFile]:
    """The files that were not ingested before, by name, size and time. The driver sees names, never records."""
    if not lake.exists(INGESTED_FILES):
        return list(files)
    here = _as_rows(lake, files, source)
    new = (
        here.join(lake.read(INGESTED_FILES), on=["file", "size_bytes", "modified_at"], how="left_anti")
        .select("file")
        .collect()
    )
    names = {row["file"] for row in new}
    return [file for file in files if file.url in names]


def claim_batches(lake: Lake, source: Source, files: Sequence[RawFile]) -> list[Batch]:
    """Batches to ingest: those that an earlier run of this source left unfinished, and those of these files."""
    lake.create(INGESTED_FILES)
    lake.create(INGESTED_BATCHES)
    for together in _cut(files, lake.settings.ingest.batch_bytes):
        names = sorted((file.url, file.size_bytes, file.modified_at.timestamp()) for file in together)
        batch_id = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
        uncounted = {name: F.lit(None).cast("bigint") for name in COUNTS}
        claimed = _as_rows(lake, together, source).withColumns({"batch_id": F.lit(batch_id), **uncounted})
        # A listing names each file once.
        lake.replace(claimed, into=INGESTED_FILES, is_key_proven=True, batch_id=batch_id)
    finished = lake.read(INGESTED_BATCHES).select("batch_id")
    # A stream repeats its own unfinished batches.
    is_mine = (F.col("source") == source.name) & ~F.col("file").startswith(KAFKA)
    claims = lake.read(INGESTED_FILES).where(is_mine).select("batch_id", "file")
    unfinished = claims.join(finished, on="batch_id", how="left_anti").collect()  # bounded by the files to ingest
    by_batch = groupby(sorted((row["batch_id"], row["file"]) for row in unfinished), key=itemgetter(0))
    return [Batch(batch_id, tuple(file for _, file in claimed)) for batch_id, claimed in by_batch]


def _cut(files: Sequence[RawFile], batch_bytes: int) -> Iterator[list[RawFile]]:
    """Groups of files, in order, each below the size; a larger file is a group of its own."""
    together: list[RawFile] = []
    for file in files:
        if together and sum(other.size_bytes for other in together) + file.size_bytes > batch_bytes:
            yield together
            together = []
        together.append(file)
    if together:
        yield together


def _as_rows(lake: Lake, files: Sequence[RawFile], source: Source) -> DataFrame:
    return lake.spark.createDataFrame(
        [(source.name, file.url, file.size_bytes, file.modified_at) for file in files],
        "source string, file string, size_bytes bigint, modified_at timestamp",
    )
