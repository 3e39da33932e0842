"""A table is a contract: grain, key, columns and rules, declared once and held at every write."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pyspark.sql import types as T

Layer = Literal["bronze", "silver", "gold"]

# What becomes of a column when the key of the pseudonyms changes:
#   pseudonym  a customer's name, hashed once more
#   event_id   the id of an event, which holds its customer's name: as well
#   visit_id   a visit's, which follows from its customer and beginning: made of them anew
#   record     a raw record, which bronze may keep under that key: opened and sealed anew
Rekeyed = Literal["pseudonym", "event_id", "visit_id", "record"]

# How `Lake.read_as_of` finds what a day could know:
#   as_of     rows carry the day they speak for
#   events    rows carry `occurred_at` and `known_at`
#   versions  rows carry `known_on`, and `day_on` if they are of a day; the last version known before the day counts
Clock = Literal["as_of", "events", "versions"]


# Delta's own properties that `Table.properties` may set; one that it sets no more is unset by a migration.
MANAGED_PROPERTIES = (
    "delta.logRetentionDuration",
    "delta.dataSkippingStatsColumns",
    "delta.dataSkippingNumIndexedCols",
)


@dataclass(frozen=True)
class Column:
    """One column: its meaning, and its unit where the name's ending does not already say it."""

    name: str
    type: T.DataType
    comment: str
    nullable: bool = False
    check: str | None = None  # SQL over this column, true for every row where it is not null
    values: tuple[str, ...] = ()  # a closed list that a release may extend: held at the write, not by the stored table
    rekeyed: Rekeyed | None = None
    is_sensitive: bool = False  # may name a customer openly: analysts' views lack it
    default: Any = None  # what rows of before hold, where the column is added to a stored table


@dataclass(frozen=True)
class Table:
    """A declared table.

    `grain` completes the sentence "one row per ...". `slices` are the columns by which a part of the table is
    replaced at once, the first of them being its partitions unless `is_partitioned` is false. `shared` tables are read by delta-rs, Polars or the
    training loader, which know no deletion vectors.
    """

    layer: Layer
    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    clock: Clock | None = None
    slices: tuple[str, ...] = ()
    is_partitioned: bool = True
    filtered_by: tuple[str, ...] = ()  # the columns that jobs filter on: statistics on these alone
    checks: Mapping[str, str] = field(default_factory=dict)  # rules over more than one column, by name
    shared: bool = False
    newest_as: str | None = None  # name of a further view for analysts: the rows of the newest as_of

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        unknown = [name for name in (*self.key, *self.slices, *self.filtered_by) if name not in names]
        if unknown or len(set(names)) < len(names):
            raise ValueError(f"{self.title}: undeclared {unknown} or a column declared twice")

    @property
    def title(self) -> str:
        """`layer.name`, as the design and the messages name it."""
        return f"{self.layer}.{self.name}"

    @property
    def partitions(self) -> tuple[str, ...]:
        """The column that parts the table's files, or none."""
        return self.slices[:1] if self.is_partitioned else ()

    @property
    def is_keyed(self) -> bool:
        """Whether its rows depend on the key of the pseudonyms."""
        return any(column.rekeyed for column in self.columns)

    @property
    def record(self) -> str | None:
        """The column that holds raw records, where there is one."""
        return next((column.name for column in self.columns if column.rekeyed == "record"), None)

    @property
    def public_columns(self) -> tuple[Column, ...]:
        """What analysts see."""
        return tuple(column for column in self.columns if not column.is_sensitive)

    @property
    def schema(self) -> T.StructType:
        """The frame this table takes and gives."""
        return T.StructType([T.StructField(c.name, c.type, c.nullable) for c in self.columns])

    @property
    def comment(self) -> str:
        """What the stored table says of itself."""
        return f"One row per {self.grain}. Key: {', '.join(self.key)}."

    @property
    def digest(self) -> str:
        """One over all that a stored table must share with the contract for its rows to be read and written."""
        return shape_digest(self.schema, self.constraints, ",".join(self.key))

    @property
    def constraints(self) -> dict[str, str]:
        """CHECK constraints by name, column rules first."""
        # Delta takes a rule that is null for broken.
        of_columns = {
            f"{c.name}_is_valid": f"{c.name} IS NULL OR {c.check}" if c.nullable else c.check
            for c in self.columns
            if c.check is not None
        }
        return {**of_columns, **self.checks}

    @property
    def properties(self) -> dict[str, str]:
        """Delta table properties that fit the table's use."""
        properties = {"clm.key": ",".join(self.key), "delta.enableDeletionVectors": str(not self.shared).lower()}
        if self.clock in ("as_of", "versions"):
            # Whether a past day still holds is read from the commits since: longer than Delta's thirty days.
            properties["delta.logRetentionDuration"] = "interval 400 days"
        # Statistics on every column are nearly all that Delta costs over plain Parquet. The partition needs none.
        indexed = dict.fromkeys((*self.slices[len(self.partitions) :], *self.filtered_by))
        if indexed:
            properties["delta.dataSkippingStatsColumns"] = ",".join(indexed)
        else:
            properties["delta.dataSkippingNumIndexedCols"] = "0"
        return properties


def shape_digest(schema: T.StructType, rules: Mapping[str, str], key: str) -> str:
    """The same for a contract and for a stored table that is as the contract says; order of columns is no matter."""
    columns = sorted([field.name, field.dataType.simpleString(), str(field.nullable)] for field in schema.fields)
    held = sorted([name.lower(), squeezed(rule)] for name, rule in rules.items())
    return hashlib.sha256(json.dumps([columns, held, key]).encode()).hexdigest()[:16]


def squeezed(rule: str) -> str:
    """A rule without what makes no difference in SQL: spaces, and upper or lower case."""
    return "".join(rule.split()).lower()
