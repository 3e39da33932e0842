"""A table as it lies in the lakehouse: its schema, its properties and its last commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import Row, SparkSession
from pyspark.sql import types as T

from clm_spark.errors import ContractError
from clm_spark.tables.contract import Table

COMMITS_LOOKED_AT = 20
_RULE = "delta.constraints."


@dataclass(frozen=True)
class Stored:
    """What Delta says of a table."""

    name: str  # as SQL wants it
    schema: T.StructType
    properties: Mapping[str, str]
    commits: Sequence[Row]  # the last ones, newest first

    @property
    def version(self) -> int:
        """Its Delta version."""
        return int(self.commits[0]["version"])

    @property
    def rules(self) -> dict[str, str]:
        """CHECK constraints by name, which Delta spells in lower case."""
        return {key.removeprefix(_RULE): rule for key, rule in self.properties.items() if key.startswith(_RULE)}

    @classmethod
    def read(cls, spark: SparkSession, name: str, table: Table) -> "Stored":
        """Raises `ContractError` where the files are gone."""
        try:
            schema = spark.table(name).schema
            properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {name}").collect()}
        except PySparkException as error:
            raise ContractError(
                f"{table.title} is registered but its files cannot be read ({_first_line(error)}); "
                f'restore them, or drop it (`clm sql "DROP TABLE {name}"`) and run the job that writes it'
            ) from error
        return cls(name, schema, properties, last_commits(spark, name))


def last_commits(spark: SparkSession, name: str) -> list[Row]:
    """The table's last commits, newest first."""
    commits: list[Row] = DeltaTable.forName(spark, name).history(COMMITS_LOOKED_AT).collect()
    return commits


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
