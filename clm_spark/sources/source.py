"""What a raw format must offer, and the readers that formats share.

A source only renames: it reads raw records and maps their parts, as text, to the fields of the canonical event. Types,
reasons for rejection and identifiers follow in `events/ingest/parse.py`, for all sources alike.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.errors import SourceError
from clm_spark.sources.parquet import parquet_rows
from clm_spark.sources.paths import decoded
from clm_spark.sources.spanning import lines_joined
from clm_spark.sources.text import CORRUPT as CORRUPT
from clm_spark.sources.text import FirstLine, cell_name, text_lines

# The fields of a canonical event as a source gives them: text, in the units of the raw log.
TEXT_FIELDS = (
    "event_id",  # the record's own
    "customer_id",
    "visitor_id",  # of the device or cookie
    "occurred_at",
    "known_at",
    "sent_at",  # the clock of the device that `occurred_at` is by, when it sent the record
    "kind",
    "item_id",
    "category",
    "brand",
    "quantity",
    "price",  # of one unit, in currency units
    "amount",  # of the line, in currency units
    "discount",  # of the line, in currency units
    "tax",  # of the line, in currency units
    "shipping",  # in currency units
    "order_id",
    "campaign_id",
    "source_session_id",
)


# Of these, the texts that silver.events stores unchanged.
TEXT_IN_SILVER = ("item_id", "category", "brand", "order_id", "campaign_id", "source_session_id")
ATTRIBUTES = "map<string,string>"
ADDRESS = r"(?i)address(?!ed|ing)"  # what a column of addresses is called
# Bounded, so that a field of a megabyte costs a multiple of its length and not its square.
EMAIL = r"""[^\s@"<>(),;:]{1,64}@(?:[^\s@"<>(),;:.]{1,63}\.){1,5}\p{L}{2,}"""


@dataclass(frozen=True)
class RawFile:
    """A file as it lies in the landing folder."""

    url: str
    size_bytes: int
    modified_at: datetime


class Source(Protocol):
    """One raw format."""

    name: str  # the value of `source` in silver.events
    time_format: str  # iso, epoch_s, epoch_ms, epoch_us, spreadsheet, or a Spark datetime pattern
    time_zone: str  # the IANA name of the zone of times that name none
    file_endings: tuple[str, ...]  # which files of a folder are read
    has_own_ids: bool = False  # event_id is a field: the time of a record that comes again may be another
    refuses_changes: bool = False  # records with the same event_id and other content stop a batch
    last_by: str | None = None  # the attribute by which the last of such records counts; None: the first counts
    repeating: Sequence[str] = ()  # kinds of which identical records of one file are as many events
    tells_lines_by_time: bool = True  # a line of an order that comes again at another time of the day is another line
    never_tolerated: Sequence[str] = ()  # reasons to reject of which one record stops a batch of files

    def read(self, spark: SparkSession, files: Sequence[str]) -> DataFrame:
        """One row per line or row of the files: `file`, `position`, `arrived_at`, `header`, `record` and `is_record`.

        `header` is the file's own where it differs from the usual one, else null.

        `position` is the row of a Parquet file, from 1; of text, a number that rises along the file, which
        `with_line_numbers` turns into lines. Headers and blank lines are no records.
        """
        ...

    def fields(self, raw: DataFrame) -> DataFrame:
        """`raw` with `TEXT_FIELDS` (text or null), `attributes` (map of text), `is_parsable` and `is_wanted` added.

        `known_attributes` are those that the source names, and `new_columns` lists what it found beside them, or is null.
        """
        ...

    def unseen(self, raw: DataFrame) -> list[str]:
        """Columns that the source reads and none of these records has, as far as no header tells."""
        return []

    def advice(self, reason: str, values: Mapping[str, str | None]) -> str:
        """What would mend records that are rejected for a reason; `values` are the texts of the fields concerned."""
        return ""


def list_files(spark: SparkSession, path: str, *, endings: tuple[str, ...]) -> list[RawFile]:
    """The files at a path or URL, not hidden and not empty, by name; bounded by the number of files, not of records.

    Raises `SourceError` when the path is missing or holds nothing with one of the endings.
    """
    place, system = _found(spark, path, endings)
    found = []
    walk = system.listFiles(place, True)
    while walk.hasNext():
        status = walk.next()
        name = status.getPath().getName()
        if name.endswith(endings) and not name.startswith((".", "_")) and status.getLen():
            modified = datetime.fromtimestamp(status.getModificationTime() / 1000, tz=UTC)
            found.append(RawFile(status.getPath().toString(), status.getLen(), modified))
    if not found:
        raise SourceError(
            f"nothing to read at {path!r}: expected files of {_either(endings)} that are not empty; check ingest.path and ingest.source"
        )
    return sorted(found, key=lambda file: file.url)


def check_place(spark: SparkSession, path: str, *, endings: tuple[str, ...]) -> None:
    """Refuse a path that is not there; an empty folder is fine, as files may come yet."""
    _found(spark, path, endings)


def read_lines(spark: SparkSession, files: Sequence[str], *, first_line: FirstLine) -> DataFrame:
    """One row per line of text files, plain or compressed; neither headers nor blank lines are records.

    `with_line_numbers` makes records of lines that quotes span. Raises `SourceError` when a file does not begin with
    `first_line`.
    """
    # The number is the same on every reading of the same files and split size.
    lines = text_lines(spark, files, first_line=first_line)
    placed = _placed(lines, F.monotonically_increasing_id(), "separator", "is_open")
    return placed.withColumn("is_record", F.coalesce("is_record", F.lit(True)))


def read_rows(spark: SparkSession, files: Sequence[str], *, columns: Sequence[Sequence[str]] = ()) -> DataFrame:
    """One row per row of Parquet files of one schema, as JSON; times are ISO in UTC.

    Raises `SourceError` when a file is no Parquet, lacks one of `columns`, each by any of its names, or differs from the
    first.
    """
    rows = parquet_rows(spark, files, columns=columns).withColumns(
        {"is_record": F.lit(True), "header": F.lit(None).cast("string")}
    )
    return _placed(rows, F.col("row")).withColumn("block", F.lit(None).cast("bigint"))


def records_of(raw: DataFrame) -> DataFrame:
    """The records among the rows that `Source.read` gives."""
    return raw.where("is_record").drop("is_record", "block", "separator", "is_open")


def with_line_numbers(raw: DataFrame) -> DataFrame:
    """What `Source.read` gives with `position` as the line of a text file, from 1, whatever the number of tasks.

    A record that quotes span over several lines is one row, at its first line. Reads the text once to count the lines of
    each block; the driver holds a row per block of a file, not per line.
    """
    if "is_open" not in raw.columns:
        return raw
    counts = (F.count("*").alias("n"), F.min("position").alias("first"), F.bool_or("is_open").alias("is_open"))
    blocks = raw.groupBy("file", "block").agg(*counts).collect()
    if not blocks:
        return raw
    spanned = {block["file"] for block in blocks if block["is_open"]}
    before: Counter[str] = Counter()
    starts = []
    for block in sorted(blocks):
        file = block["file"]
        starts.append((file, block["block"], before[file] - block["first"] + 1, file in spanned))
        before[file] += block["n"]
    shift = raw.sparkSession.createDataFrame(starts, "file string, block bigint, shift bigint, is_spanned boolean")
    shifted = raw.join(F.broadcast(shift), on=["file", "block"], how="left")
    lines = shifted.withColumn("position", F.col("position") + F.coalesce("shift", F.lit(0)))
    if not spanned:
        return lines.select(raw.columns)
    # Of other files no line needs to be sorted.
    is_spanned = F.coalesce("is_spanned", F.lit(False))
    single, spanning = (lines.where(which).select(raw.columns) for which in (~is_spanned, is_spanned))
    return single.union(lines_joined(spanning))


def json_record(columns: Sequence[str]) -> Column:
    """`record`, a row as JSON, as a struct of text columns; field `_corrupt` is set when it is not JSON."""
    return F.from_json("record", text_struct(columns), {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT})


def json_objects(columns: Sequence[str]) -> Column:
    """`record`, a line of JSON, as an array of such structs: one for a sound line, else null or another length.

    On its own Spark would read the first object of a line and ignore the rest.
    """
    listed = F.concat(F.lit("["), "record", F.lit("]"))
    return F.from_json(listed, T.ArrayType(text_struct(columns)), {"mode": "PERMISSIVE"})


def placed_cells(cells: Column, columns: Sequence[str]) -> Column:
    """A struct of text columns and `_corrupt` with its fields called by position: names may differ in case alone."""
    named = T.StructType(
        [T.StructField(cell_name(n), T.StringType()) for n in range(len(columns))]
        + [T.StructField(CORRUPT, T.StringType())]
    )
    return cells.cast(named)


def unknown_members(columns: Sequence[str]) -> Column:
    """The members of `record`, a JSON object, that are not among `columns`, as a map; null where there are none."""
    is_known = set(columns)
    others = F.array_except(F.json_object_keys("record"), F.array(*map(F.lit, sorted(is_known))))
    every = F.from_json("record", "map<string,string>")
    return F.when(F.size(others) > 0, F.map_filter(every, lambda name, _: ~name.isin(*sorted(is_known))))


def text_struct(columns: Sequence[str]) -> T.StructType:
    """Text columns and `_corrupt`."""
    return T.StructType([T.StructField(name, T.StringType()) for name in (*columns, CORRUPT)])


def with_fields(
    rows: DataFrame,
    fields: dict[str, Column],
    *,
    is_parsable: Column,
    attributes: dict[str, Column] | None = None,
    extra: Column | None = None,
    is_wanted: Column | None = None,
) -> DataFrame:
    """Raw rows with the fields a source knows; the others are null.

    Records that are not `is_wanted` are filtered out, with that as their reason.

    `extra` is a map of the columns that the source does not know. They are added to the attributes, except those named
    like an address, and `new_columns` lists them. Text for silver loses e-mail addresses, and the customer's raw id
    where that is unmistakable.
    """
    unknown = set(fields) - set(TEXT_FIELDS)
    if unknown:
        raise ValueError(f"not fields of an event: {sorted(unknown)}")
    in_order = sorted((attributes or {}).items())  # event ids are made of them
    customer = fields.get("customer_id", F.lit(None)).cast("string")
    texts = {name: fields.get(name, F.lit(None)).cast("string") for name in TEXT_FIELDS}
    texts |= {name: without_raw_id(texts[name], customer) for name in TEXT_IN_SILVER if name in fields}
    mapped = F.lit(None).cast(ATTRIBUTES)
    if in_order:
        # Spark interprets map_filter and all below it, so its inputs are columns of an earlier, compiled projection. Each
        # is used twice below: Spark would merge a projection whose columns are used once into the next.
        own = [f"_attribute_{number}" for number in range(len(in_order))]
        values = (without_raw_id(value.cast("string"), customer) for _, value in in_order)
        rows = rows.withColumns(dict(zip(own, values, strict=True)))
        pairs = [part for (name, _), cell in zip(in_order, own, strict=True) for part in (F.lit(name), F.col(cell))]
        is_any = F.coalesce(*own).isNotNull()
        mapped = F.when(is_any, F.map_filter(F.create_map(*pairs), _is_present)).otherwise(
            F.create_map().cast(ATTRIBUTES)
        )
    known, new_columns = mapped, F.lit(None)
    if extra is not None:
        new_columns = F.map_keys(extra)
        public = F.map_filter(extra, lambda name, value: value.isNotNull() & ~name.rlike(ADDRESS))
        redacted = F.transform_values(public, lambda _, value: without_raw_id(value, customer))
        mapped = F.when(extra.isNull(), mapped).otherwise(_joined(mapped, redacted, list(attributes or {})))
    return rows.select(
        "file",
        "position",
        "arrived_at",
        "header",
        "record",
        *(text.alias(name) for name, text in texts.items()),
        mapped.alias("attributes"),
        known.alias("known_attributes"),
        new_columns.cast("array<string>").alias("new_columns"),
        F.coalesce(is_parsable, F.lit(False)).alias("is_parsable"),
        F.lit(True).alias("is_wanted") if is_wanted is None else F.coalesce(is_wanted, F.lit(False)).alias("is_wanted"),
    )


def _is_present(_: Column, value: Column) -> Column:
    return value.isNotNull()


def _joined(known: Column, extra: Column, names: Sequence[str]) -> Column:
    """Both maps as one, in order of name; a new column with the name of an attribute gets `_` appended."""
    apart = F.transform_keys(extra, lambda name, _: F.when(name.isin(*names), F.concat(name, F.lit("_")))
        .otherwise(name)) if names else extra  # fmt: skip
    entries = F.concat(
        F.map_entries(F.coalesce(known, F.create_map().cast("map<string,string>"))), F.map_entries(apart)
    )
    return F.map_from_entries(F.array_sort(entries))


def without_raw_id(text: Column, customer: Column) -> Column:
    """The text with `[e-mail]` for an address in it, and `[customer]` where it is the customer's raw id.

    An id of digits alone may as well be another number: who bought item 17 may be customer 17.
    """
    is_customer = (text == customer) & customer.rlike(r"[^0-9]")
    redacted = F.when(F.contains(text, F.lit("@")), F.regexp_replace(text, EMAIL, "[e-mail]")).otherwise(text)
    return F.when(is_customer, F.lit("[customer]")).otherwise(redacted)


def translated(column: Column, names: Mapping[str, str]) -> Column:
    """Text with the names a source uses replaced by ours; what is not listed stays."""
    ours = column
    for theirs, name in names.items():
        ours = F.when(column == theirs, name).otherwise(ours)
    return ours


def _found(spark: SparkSession, path: str, endings: tuple[str, ...]) -> tuple[Any, Any]:
    """Hadoop's path and file system."""
    jvm: Any = spark._jvm
    place = jvm.org.apache.hadoop.fs.Path(path or ".")
    system = place.getFileSystem(spark._jsc.hadoopConfiguration())
    if not path or not system.exists(place):
        raise SourceError(
            f"no raw data at {path!r}: expected a file or folder of {_either(endings)}; check ingest.path"
        )
    return place, system


def _placed(rows: DataFrame, position: Column, *more: str) -> DataFrame:
    return rows.select(
        decoded(F.col("_metadata.file_path")).alias("file"),
        F.col("_metadata.file_block_start").alias("block"),
        position.alias("position"),
        F.col("_metadata.file_modification_time").alias("arrived_at"),
        "header",
        "record",
        "is_record",
        *more,
    )


def _either(endings: tuple[str, ...]) -> str:
    return " or ".join(f"*{ending}" for ending in endings)
