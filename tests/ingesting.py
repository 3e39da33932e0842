"""Ingestion of files by a source and the parser, without tables."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.events.ingest.duplicates import new_events
from clm_spark.events.ingest.parse import typed_events
from clm_spark.events.ingest.validation import summarized, validation_results
from clm_spark.keys import read_key
from clm_spark.sources.source import Source, list_files, records_of, with_line_numbers
from clm_spark.tables.catalog import EVENTS

KEY = read_key(str(Path(__file__).parents[1] / "conf" / "demo.key"))


@dataclass(frozen=True)
class Ingested:
    """Events and counts of the ingested files."""

    typed: DataFrame  # with `happened`: occurred_at as UTC text, for Python shows times in its own zone
    kept: DataFrame
    num_read: int
    reasons: dict[str, int]
    kinds: dict[str, int]  # of usable records, repeated ones too
    num_kept: int

    @property
    def num_duplicates(self) -> int:
        return sum(self.kinds.values()) - self.num_kept

    @property
    def is_whole(self) -> bool:
        return self.num_read == self.num_kept + sum(self.reasons.values()) + self.num_duplicates


def ingest(spark: SparkSession, source: Source, path: Path, *, keeps_guests: bool = False) -> Ingested:
    files = [file.url for file in list_files(spark, str(path), endings=source.file_endings)]
    raw = records_of(with_line_numbers(source.read(spark, files)))
    typed = typed_events(
        source.fields(raw),
        source=source.name,
        time_format=source.time_format,
        time_zone=source.time_zone,
        known_at="occurred",
        key=KEY,
        keeps_guests=keeps_guests,
        tells_lines_by_time=source.tells_lines_by_time,
    )
    typed = typed.withColumn("happened", F.col("occurred_at").cast("string")).cache()
    events, none = typed.withColumn("batch_id", F.lit("batch-1")), spark.createDataFrame([], EVENTS.schema)
    results = validation_results(events).cache()
    with new_events(events, results, none, span=summarized(results).span, repeating=source.repeating) as new:
        kept = new.rows.cache()
        assert kept.count() == new.num_new
    rejected = F.col("reason").isNotNull()
    groups = typed.groupBy("reason", F.when(~rejected, F.col("kind")).alias("kind")).count().collect()
    reasons: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for group in groups:
        (reasons if group.reason else kinds)[group.reason or group.kind] += group["count"]
    return Ingested(typed, kept, raw.count(), dict(reasons), dict(kinds), kept.count())
