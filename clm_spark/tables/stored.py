"""A table as it lies in the lakehouse: its schema, its properties and its last commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import Row, SparkSession
from pyspark.sql import types as T

import clm_spark
from clm_spark.errors import ContractError, in_a_line
from clm_spark.tables.commits import COMMIT_MARK, UPKEEP, standing
from clm_spark.tables.contract import MANAGED_PROPERTIES, Table, shape_digest, squeezed
from clm_spark.tables.migrations import steps_of

COMMITS_LOOKED_AT = 20
CONTRACT_PROPERTY = "clm.contract"  # digest of the contract that made the table, or last changed it
RELEASE_PROPERTY = "clm.release"  # and its release
RULES_PROPERTY = "clm.rules"  # names of the CHECK constraints that are ours: an analyst may have added others
STEPS_PROPERTY = "clm.steps"  # steps of tables/migrations that its rows have gone through, or never needed
UNDER_WAY = "being migrated"
_RULE = "delta.constraints."
_NOT_NULL = "_is_not_null"
_OF_DELTA = ("delta.min", "delta.feature.", "delta.columnMapping.", *MANAGED_PROPERTIES)
_OLD_RULES = ("nothing_is_lost", "ends_after_start")  # of release 0.1.0, beside those of single columns


@dataclass(frozen=True)
class Stored:
    """What Delta says of a table."""

    name: str  # as SQL wants it
    schema: T.StructType  # a column that a rule keeps from being null is NOT NULL in it
    properties: Mapping[str, str]
    commits: Sequence[Row]  # the last ones, newest first

    @property
    def version(self) -> int:
        """Its Delta version."""
        return int(self.commits[0]["version"])

    @property
    def rules(self) -> dict[str, str]:
        """Our CHECK constraints by name, which Delta spells in lower case, but for those that stand for NOT NULL."""
        held = {key.removeprefix(_RULE): rule for key, rule in self.properties.items() if key.startswith(_RULE)}
        held = {name: rule for name, rule in held.items() if not name.endswith(_NOT_NULL)}
        listed = self.properties.get(RULES_PROPERTY)
        if listed is None:  # made before ours were listed
            return {name: rule for name, rule in held.items() if name.endswith("_is_valid") or name in _OLD_RULES}
        return {name: rule for name, rule in held.items() if name in listed.lower().split(",")}

    @property
    def foreign_properties(self) -> dict[str, str]:
        """What others set: properties, and rules of their own."""
        ours = {f"{_RULE}{name}" for name in self.rules}
        return {
            key: value
            for key, value in self.properties.items()
            if key not in ours and not key.startswith(_OF_DELTA) and not key.endswith(_NOT_NULL)
        }

    @property
    def steps(self) -> tuple[str, ...]:
        """Steps of migrations that it needs no more."""
        return tuple(filter(None, self.properties.get(STEPS_PROPERTY, "").split(",")))

    @property
    def foreign_commit(self) -> Row | None:
        """The last change, where somebody else made it."""
        changes = [commit for commit in standing(self.commits) if commit["operation"] not in UPKEEP]
        return changes[0] if changes and COMMIT_MARK not in (changes[0]["userMetadata"] or "") else None

    @property
    def is_as_we_left_it(self) -> bool:
        """Whether it is what some release of ours, this one or another, made of it."""
        recorded = self.properties.get(CONTRACT_PROPERTY)
        digest = shape_digest(self.schema, self.rules, self.properties.get("clm.key", ""))
        # Made before digests were recorded: its commits are all there is to go by.
        return self.foreign_commit is None and recorded in (None, UNDER_WAY, digest)

    def differences(self, table: Table) -> list[str]:
        """What separates it from the contract, as far as its rows could not be read or written for it."""
        key = self.properties.get("clm.key", "")
        rekeyed = [] if key == ",".join(table.key) else [f"key should be {','.join(table.key)} and is {key}"]
        half_done = ["its migration is not finished"] if self.properties.get(CONTRACT_PROPERTY) == UNDER_WAY else []
        columns = [*schema_differences(self.schema, table.schema), *self._null_differences(table)]
        return [*columns, *self._rule_differences(table), *rekeyed, *half_done]

    def _null_differences(self, table: Table) -> list[str]:
        is_nullable = {field.name: field.nullable for field in self.schema}
        return [
            f"{column.name} should {'' if column.nullable else 'not '}be nullable"
            for column in table.columns
            if is_nullable.get(column.name, column.nullable) != column.nullable
        ]

    def _rule_differences(self, table: Table) -> list[str]:
        held, declared = self.rules, {name.lower(): rule for name, rule in table.constraints.items()}
        gone = [f"rule {name} is gone" for name in declared if name not in held]
        changed = [
            f"rule {name} should be {rule} and is {held[name]}"
            for name, rule in declared.items()
            if name in held and squeezed(held[name]) != squeezed(rule)
        ]
        return gone + changed + [f"rule {name} is not declared" for name in held if name not in declared]

    @classmethod
    def read(cls, spark: SparkSession, name: str, table: Table) -> "Stored":
        """Raises `ContractError` where the files are gone."""
        try:
            fields = spark.table(name).schema.fields
            properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {name}").collect()}
        except PySparkException as error:
            raise ContractError(
                f"{table.title} is registered but its files cannot be read ({in_a_line(error)}); "
                f'restore them, or drop it (`clm sql "DROP TABLE {name}"`) and run the job that writes it'
            ) from error
        is_null = [field.nullable and f"{_RULE}{not_null_rule(field.name)}" not in properties for field in fields]
        schema = [
            T.StructField(field.name, field.dataType, nullable, field.metadata)
            for field, nullable in zip(fields, is_null, strict=True)
        ]
        return cls(name, T.StructType(schema), properties, last_commits(spark, name))


def not_null_rule(column: str) -> str:
    """The rule that stands for NOT NULL in a stored table, which Delta lets no column become."""
    return f"{column}{_NOT_NULL}"


def recorded_properties(table: Table) -> dict[str, str]:
    """What a table of today's contract says of it."""
    return {
        CONTRACT_PROPERTY: table.digest,
        RELEASE_PROPERTY: clm_spark.__version__,
        RULES_PROPERTY: ",".join(table.constraints),
        STEPS_PROPERTY: ",".join(step.name for step in steps_of(table.title)),
    }


def schema_differences(schema: T.StructType, declared: T.StructType) -> list[str]:
    """What separates two schemas by column name and type."""
    came = {field.name: field.dataType.simpleString() for field in schema.fields}
    expected = {field.name: field.dataType.simpleString() for field in declared.fields}
    missing = [f"{name} {kind} is missing" for name, kind in expected.items() if name not in came]
    unexpected = [f"{name} {kind} is not declared" for name, kind in came.items() if name not in expected]
    retyped = [
        f"{name} should be {kind} and is {came[name]}"
        for name, kind in expected.items()
        if name in came and came[name] != kind
    ]
    return missing + unexpected + retyped


def last_commits(spark: SparkSession, name: str) -> list[Row]:
    """The table's last commits, newest first."""
    commits: list[Row] = DeltaTable.forName(spark, name).history(COMMITS_LOOKED_AT).collect()
    return commits
