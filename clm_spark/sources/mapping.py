"""Any CSV, JSON lines or Parquet log, by a YAML file that maps its columns to the fields of an event."""

import re
from collections.abc import Sequence
from typing import Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.settings import Section, ZoneName, conf_file
from clm_spark.sources.source import (
    TEXT_FIELDS,
    json_objects,
    read_lines,
    read_rows,
    translated,
    unknown_members,
    with_fields,
)
from clm_spark.sources.text import CORRUPT, CSV_ENDINGS, FirstLine, cells_of, with_cells
from clm_spark.tables.catalog import EVENT_KINDS

ENDINGS = {
    "csv": (*CSV_ENDINGS, ".tsv", ".tsv.gz", ".txt", ".txt.gz"),
    "jsonl": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".json", ".json.gz"),
    "parquet": (".parquet",),
}
TIME_FORMATS = ("iso", "epoch_s", "epoch_ms", "epoch_us")
ADDRESS = re.compile(r"address(?!ed|ing)", re.IGNORECASE)
PATTERN_LETTERS = set("GyMLdQqEDFahKkHmsSVzOXx")  # what Spark reads, outside quotes


class Mapping(Section):
    """The YAML file. `conf/sources/example.yml` explains every key."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    format: Literal["csv", "jsonl", "parquet"]
    separator: str = Field(",", min_length=1, max_length=1)
    header: str | None = None
    columns: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    time_format: str = "iso"
    time_zone: ZoneName | None = None
    fields: dict[str, str]
    kind: str | None = None
    kinds: dict[str, str] = Field(default_factory=dict)
    attributes: dict[str, str] = Field(default_factory=dict)
    optional: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @field_validator("time_format")
    @classmethod
    def _is_readable(cls, time_format: str) -> str:
        letters = set(re.sub(r"[^A-Za-z]", "", _unquoted(time_format)))
        if time_format not in TIME_FORMATS:
            if letters - PATTERN_LETTERS or not letters >= set("yd") or not letters & set("ML"):
                raise ValueError(f"expected {', '.join(TIME_FORMATS)} or a pattern such as dd.MM.yyyy HH:mm:ss")
            # Spark would take every such hour for one of the morning.
            if letters & set("hK") and "a" not in letters:
                raise ValueError("h and K are hours of a half day: expected a beside them, or H")
            if "z" in letters:
                raise ValueError(
                    "z reads names such as CST, which mean more than one zone: expected X, VV or time_zone"
                )
        return time_format

    @model_validator(mode="after")
    def _is_whole(self) -> "Mapping":
        problems = [*self._missing(), *self._unknown_names(), *self._raw_ids()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the log, in the order of a CSV line."""
        if self.format != "csv":
            return tuple(dict.fromkeys(name.split(".")[0] for name in self._used()))
        return tuple(cells_of(self.header, separator=self.separator)) if self.header else self.columns

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns without which a file is refused."""
        used = dict.fromkeys(name if self.format == "csv" else name.split(".")[0] for name in self._used())
        return tuple(name for name in used if name not in self.optional)

    def _used(self) -> list[str]:
        return [*self.fields.values(), *self.attributes.values()]

    def _missing(self) -> list[str]:
        problems = [] if "occurred_at" in self.fields else ["fields.occurred_at is missing"]
        if not {"customer_id", "visitor_id"} & set(self.fields):
            problems.append("expected fields.customer_id, fields.visitor_id or both")
        if ("kind" in self.fields) == (self.kind is not None):
            problems.append("expected either kind (the same for every record) or fields.kind (a column)")
        if "sent_at" in self.fields and "known_at" not in self.fields:
            problems.append("fields.sent_at needs fields.known_at: a device's clock is compared with the server's")
        if self.format == "csv" and bool(self.header) == bool(self.columns):
            problems.append("expected either header (the first line as it is written) or columns (no header line)")
        return problems

    def _unknown_names(self) -> list[str]:
        fields = sorted(set(self.fields) - set(TEXT_FIELDS))
        kinds = sorted({*self.kinds.values(), self.kind or "view"} - set(EVENT_KINDS))
        columns = sorted({*self._used(), *self.ignored} - set(self.names)) if self.format == "csv" else []
        return [
            *(f"fields.{name} is unknown: a field is one of {', '.join(TEXT_FIELDS)}" for name in fields),
            *(f"{name} is no kind: a kind is one of {', '.join(EVENT_KINDS)}" for name in kinds),
            *(f"{name} is no column of the log: it has {', '.join(self.names)}" for name in columns),
        ]

    def _raw_ids(self) -> list[str]:
        """Where a raw customer id or an address would leave bronze."""
        who = self.fields.get("customer_id", "")
        places = {f"fields.{name}": column for name, column in self.fields.items() if name != "customer_id"}
        places |= {f"attributes.{name}": column for name, column in self.attributes.items()}
        same = [place for place, column in places.items() if f"{who}.".startswith(f"{column}.")]
        addresses = [name for name, column in self.attributes.items() if ADDRESS.search(f"{name} {column}")]
        return [
            *(f"{place} is the customer's own column {who}: raw ids stay in bronze, leave it out" for place in same),
            *(f"attributes.{name} is an address: addresses stay in bronze, leave it out" for name in addresses),
        ]


def read_mapping(file: str | None) -> Mapping:
    """Read and check a mapping; raises `SettingsError` naming every unusable key at once."""
    if not file:
        raise SettingsError("source mapping needs a YAML file: set ingest.mapping (conf/sources/example.yml shows one)")
    try:
        return Mapping.model_validate(yaml.safe_load(conf_file(file).read_text()))
    except OSError as error:
        raise SettingsError(f"no mapping at {file} ({error.strerror}): expected YAML; set ingest.mapping") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        problems = "; ".join(map(_problem, error.errors()))
        raise SettingsError(f"mapping {file}: {problems}; conf/sources/example.yml explains every key") from None


def _problem(error: object) -> str:
    assert isinstance(error, dict)
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{key} is unknown"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}, got {error['input']!r}" if key else message


def _unquoted(pattern: str) -> str:
    return re.sub(r"'[^']*'", "", pattern)


class MappedSource:
    """A log read by a mapping; events carry the mapping's name as their source: `mapping:my_shop`."""

    def __init__(self, mapping: Mapping, *, name: str, time_zone: str = "UTC") -> None:
        """`time_zone` is the shop's, for a mapping without one.

        Raises `SettingsError` where the time format reads a zone from some texts only.
        """
        self.mapping = mapping
        self.name = f"mapping:{name}"
        self.time_format = mapping.time_format
        self.time_zone = mapping.time_zone or time_zone
        if self.time_zone != "UTC" and re.search(r"\[[^\]]*[VOXx]", _unquoted(self.time_format)):
            raise SettingsError(
                f"mapping {name}: time_format {self.time_format!r} reads a zone from some texts, and those that name "
                f"none are of {self.time_zone}: expected a zone in all or in none of them, or time_format iso"
            )
        self.file_endings = mapping.endings or ENDINGS[mapping.format]

    def read(self, spark: SparkSession, files: Sequence[str]) -> DataFrame:
        """One row per CSV line, JSON object or Parquet row."""
        if self.mapping.format == "parquet":
            return read_rows(spark, files, columns=self.mapping.needed)
        return read_lines(spark, files, first_line=self._first_line())

    def fields(self, raw: DataFrame) -> DataFrame:
        """Each record by the mapping; dots reach into JSON objects and Parquet structs."""
        cells = self._cells(raw)
        fields = {field: self._cell(column) for field, column in self.mapping.fields.items()}
        kind = F.lit(self.mapping.kind) if self.mapping.kind else translated(fields["kind"], self.mapping.kinds)
        return with_fields(
            cells,
            {**fields, "kind": kind},
            is_parsable=F.col("cells").isNotNull() & F.col(f"cells.{CORRUPT}").isNull(),
            attributes={name: self._cell(column) for name, column in self.mapping.attributes.items()},
            extra=F.col("extra"),
        )

    def _first_line(self) -> FirstLine:
        mapping = self.mapping
        if mapping.format == "jsonl":
            return FirstLine(pattern=r"\s*\{", example='{"column": "value"}')
        if mapping.header:
            return FirstLine(headers=(mapping.header,), needed=mapping.needed, separator=mapping.separator)
        cut = re.escape(mapping.separator)
        cell = rf'(?:"(?:[^"]|"")*"|[^{cut}"][^{cut}]*)?'
        pattern = rf"{cell}(?:{cut}{cell}){{{len(mapping.columns) - 1}}}$"
        return FirstLine(pattern=pattern, example=mapping.separator.join(mapping.columns))

    def _cells(self, raw: DataFrame) -> DataFrame:
        if self.mapping.format == "csv":
            return with_cells(raw, self.mapping.names, separator=self.mapping.separator)
        objects = raw.withColumn("objects", json_objects(self.mapping.names))
        known = (*self.mapping.names, *self.mapping.ignored)
        return objects.withColumns(
            {"cells": F.when(F.size("objects") == 1, F.col("objects")[0]), "extra": unknown_members(known)}
        )

    def _cell(self, column: str) -> Column:
        if self.mapping.format == "csv":
            return F.col("cells")[column]
        name, _, path = column.partition(".")
        cell = F.col("cells")[name]
        return F.get_json_object(cell, f"$.{path}") if path else cell
