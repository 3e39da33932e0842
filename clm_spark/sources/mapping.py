"""The YAML file that maps the columns of any CSV, JSON lines or Parquet log to the fields of an event."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from clm_spark.errors import SettingsError
from clm_spark.settings import Section, ZoneName, conf_file
from clm_spark.sources.encodings import encoding_name
from clm_spark.sources.expressions import looks_like_sql
from clm_spark.sources.formats import NULL_WORDS, DecimalSign, Format
from clm_spark.sources.source import TEXT_FIELDS
from clm_spark.sources.text import CSV_ENDINGS, column_names
from clm_spark.tables.catalog import EVENT_KINDS

ENDINGS = {
    "csv": (*CSV_ENDINGS, ".tsv", ".tsv.gz", ".txt", ".txt.gz"),
    "jsonl": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".json", ".json.gz"),
    "parquet": (".parquet",),
}
TIME_FORMATS = ("iso", "epoch_s", "epoch_ms", "epoch_us", "spreadsheet")
FILTER = "filter"
MONEY_FIELDS = ("price", "amount")
ADDRESS = re.compile(r"address(?!ed|ing)", re.IGNORECASE)
LAST_BY = re.compile(r"^last by (\w+)$")
QUOTED = re.compile(r"^`([^`]+)`$")  # a column whose name could be taken for SQL
PATTERN_LETTERS = set("GyMLdQqEDFahKkHmsSVzOXx")  # what Spark reads, outside quotes


def _as_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _as_separator(value: object) -> object:
    return "\t" if value in ("\\t", "tab") else value


# The names of a column, of which a file has one, the usual first; or one SQL expression.
Recipe = Annotated[tuple[str, ...], BeforeValidator(_as_names), Field(min_length=1)]


class Mapping(Section):
    """The YAML file. `conf/sources/example.yml` explains every key."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    format: Literal["csv", "jsonl", "parquet"]
    separator: Annotated[str, BeforeValidator(_as_separator)] = Field(",", min_length=1, max_length=1)
    encoding: Annotated[str, AfterValidator(encoding_name)] = "utf-8"
    header: str | None = None
    columns: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    time_format: str = "iso"
    time_zone: ZoneName | None = None
    null_words: tuple[str, ...] = NULL_WORDS
    decimal: DecimalSign | None = None
    thousands: DecimalSign | None = None
    formats: dict[str, Format] = Field(default_factory=dict)
    ids: Literal["normalised", "as_written"] = "normalised"
    identical_records: Literal["lines", "one", "each"] = "lines"
    same_id: str = "first"
    fields: dict[str, Recipe]
    kind: str | None = None
    kinds: dict[str, str] = Field(default_factory=dict)
    filter: str | None = None
    attributes: dict[str, Recipe] = Field(default_factory=dict)
    optional: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @field_validator("time_format")
    @classmethod
    def _is_readable(cls, time_format: str) -> str:
        letters = set(re.sub(r"[^A-Za-z]", "", unquoted(time_format)))
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
    def last_by(self) -> str | None:
        """The attribute by which the last of records with the same event_id counts."""
        last = LAST_BY.match(self.same_id)
        return last[1] if last else None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of a usual CSV line, in order; of other formats those that a recipe names."""
        if self.format != "csv":
            return tuple(dict.fromkeys(name for recipe in self.recipes.values() for name in self.columns_of(recipe)))
        return tuple(column_names(self.header, separator=self.separator)) if self.header else self.columns

    @property
    def needed(self) -> tuple[tuple[str, ...], ...]:
        """The columns, each by its names, without which a file is refused, as far as no expression reads them."""
        recipes = (self.columns_of(recipe) for recipe in self.recipes.values())
        return tuple(dict.fromkeys(names for names in recipes if names and not set(names) & set(self.optional)))

    @property
    def money(self) -> tuple[tuple[str, ...], ...]:
        """The columns that say what a line is worth."""
        return tuple(filter(None, (self.columns_of(self.fields.get(name, ())) for name in MONEY_FIELDS)))

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Every field and attribute by its place in the file."""
        kind = {"kind": (self.kind,)} if self.kind and self.kind not in EVENT_KINDS else {}
        return {
            **{f"fields.{name}": recipe for name, recipe in self.fields.items()},
            **kind,
            **{f"attributes.{name}": recipe for name, recipe in self.attributes.items()},
        }

    @property
    def expressions(self) -> dict[str, str]:
        """Every SQL expression by its place in the file."""
        wanted = {FILTER: self.filter} if self.filter else {}
        return wanted | {place: recipe[0] for place, recipe in self.recipes.items() if not self.columns_of(recipe)}

    def columns_of(self, recipe: Recipe) -> tuple[str, ...]:
        """The names of a column, where the recipe is no expression."""
        if len(recipe) == 1 and self._is_sql(recipe[0]):
            return ()
        return tuple(quoted[1] if (quoted := QUOTED.match(name)) else name for name in recipe)

    def _is_sql(self, text: str) -> bool:
        is_column = (self.format == "csv" and text in self.names) or QUOTED.match(text)
        return not is_column and looks_like_sql(text)

    def _missing(self) -> list[str]:
        problems = [] if "occurred_at" in self.fields else ["fields.occurred_at is missing"]
        if not {"customer_id", "visitor_id"} & set(self.fields):
            problems.append("expected fields.customer_id, fields.visitor_id or both")
        if ("kind" in self.fields) == (self.kind is not None):
            problems.append("expected either kind (the same for every record) or fields.kind (a column)")
        if "sent_at" in self.fields and "known_at" not in self.fields:
            problems.append("fields.sent_at needs fields.known_at: a device's clock is compared with the server's")
        if self.same_id not in ("first", "refused") and self.last_by not in self.attributes:
            problems.append(
                f"same_id: expected first, refused or `last by` an attribute of the mapping, got {self.same_id!r}"
            )
        if self.same_id != "first" and "event_id" not in self.fields:
            problems.append("same_id is about records with the same fields.event_id: name it, or leave same_id out")
        if self.format == "csv" and bool(self.header) == bool(self.columns):
            problems.append("expected either header (the first line as it is written) or columns (no header line)")
        return problems

    def _unknown_names(self) -> Iterator[str]:
        for name in sorted(set(self.fields) - set(TEXT_FIELDS)):
            yield f"fields.{name} is unknown: a field is one of {', '.join(TEXT_FIELDS)}"
        constant = None if self.kind is None or looks_like_sql(self.kind) else self.kind
        for name in sorted({*self.kinds.values(), "view" if constant is None else constant} - set(EVENT_KINDS)):
            yield f"{name} is no kind: a kind is one of {', '.join(EVENT_KINDS)}"
        if self.format != "csv":
            return
        # Of several names, one is in the usual header; the others are those of other files.
        first = [names for recipe in self.recipes.values() if (names := self.columns_of(recipe))]
        wrong = {names[0] for names in first if not set(names) & set(self.names)}
        wrong |= {*self.formats} - {*self.names, *(name for names in first for name in names)}
        for name in sorted(wrong):
            yield f"{name} is no column of the log: it has {', '.join(self.names)}"

    def _raw_ids(self) -> list[str]:
        """Where a raw customer id or an address would leave bronze."""
        who = self.columns_of(self.fields.get("customer_id", ()))
        others = {place: recipe for place, recipe in self.recipes.items() if place != "fields.customer_id"}
        same = [
            place
            for place, recipe in others.items()
            if any(f"{login}.".startswith(f"{name}.") for login in who for name in self.columns_of(recipe))
        ]
        addresses = [
            name
            for name, recipe in self.attributes.items()
            if ADDRESS.search(" ".join((name, *self.columns_of(recipe))))
        ]
        return [
            *(
                f"{place} is the customer's own column {', '.join(who)}: raw ids stay in bronze, leave it out"
                for place in same
            ),
            *(f"attributes.{name} is an address: addresses stay in bronze, leave it out" for name in addresses),
        ]


class _Loader(yaml.SafeLoader):
    """Scalars as they are written (01, yes), and a key that stands twice is a mistake."""


def _mapping_node(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key, (at, _) in zip(keys, node.value, strict=True):
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"a key must be text, got {key!r}", at.start_mark)
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", at.start_mark)
    return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)}


def _scalar_node(loader: _Loader, node: yaml.ScalarNode) -> str | None:
    is_nothing = not node.value and node.style is None  # `key:` with nothing behind it
    return None if is_nothing else str(loader.construct_scalar(node))


_Loader.yaml_constructors = {
    "tag:yaml.org,2002:map": _mapping_node,
    "tag:yaml.org,2002:seq": yaml.SafeLoader.construct_sequence,
    "tag:yaml.org,2002:str": _scalar_node,
    None: yaml.SafeLoader.construct_undefined,
}
_Loader.yaml_implicit_resolvers = {}


def read_mapping(file: str | None) -> Mapping:
    """Read and check a mapping; raises `SettingsError` naming every unusable key at once."""
    if not file:
        raise SettingsError("source mapping needs a YAML file: set ingest.mapping (conf/sources/example.yml shows one)")
    try:
        return Mapping.model_validate(yaml.load(conf_file(file).read_text("utf-8-sig"), _Loader))
    except OSError as error:
        raise SettingsError(f"no mapping at {file} ({error.strerror}): expected YAML; set ingest.mapping") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not YAML: {error}") from None
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


def unquoted(pattern: str) -> str:
    """The letters of a time pattern that stand for something."""
    return re.sub(r"'[^']*'", "", pattern)
