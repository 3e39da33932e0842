"""The schemas of a lakehouse: whose they are, and by which key the tables in them are keyed."""

import logging
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pyspark.sql import SparkSession

from clm_spark.errors import ContractError
from clm_spark.keys import KeyChain, pseudonym_key
from clm_spark.settings import Settings
from clm_spark.tables.catalog import EVENTS
from clm_spark.tables.contract import Layer, Table
from clm_spark.tables.keyed import KEY_PROPERTY, KeyRecord, check_same

Kind = Layer | Literal["analysts"]
SHOP_PROPERTY = "clm.shop"
ZONE_PROPERTY = "clm.time_zone"


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schemas:
    """The schemas that the settings name."""

    spark: SparkSession
    settings: Settings
    _made: set[Kind] = field(default_factory=set)  # by this process

    @cached_property
    def key(self) -> KeyChain:
        """The key that the settings name, read once."""
        return pseudonym_key(self.settings)

    def name(self, kind: Kind) -> str:
        """`catalog.schema` as SQL wants it."""
        return f"{_identifier(self.settings.lakehouse.catalog)}.{getattr(self.settings.lakehouse, kind)}"

    def table_name(self, table: Table) -> str:
        """`catalog.schema.table` as SQL wants it."""
        return f"{self.name(table.layer)}.{table.name}"

    def make(self, kind: Kind) -> None:
        """Make the schema, unless it is there; raises as `check_shop`."""
        if kind in self._made:
            return
        holds = "views" if kind == "analysts" else "tables"
        self.spark.sql(
            f"CREATE SCHEMA IF NOT EXISTS {self.name(kind)} COMMENT '{kind} {holds} of clm-spark' "
            f"WITH DBPROPERTIES ('{SHOP_PROPERTY}' = '{self.settings.shop.name}')"
        )
        self.check_shop(kind)
        self._made.add(kind)

    def check_shop(self, kind: Kind) -> None:
        """Refuse a schema that holds another shop's tables."""
        schema = self.name(kind)
        came = self._properties(kind).get(SHOP_PROPERTY)
        if came is None and not self.spark.sql(f"SHOW TABLES IN {schema}").head(1):
            self._set(
                kind, SHOP_PROPERTY, self.settings.shop.name
            )  # the platform made it, still empty: ours from now on
        elif came != self.settings.shop.name:
            raise ContractError(
                f"schema {schema} of lakehouse {self.settings.lakehouse.path} holds another shop's data: expected shop "
                f"{self.settings.shop.name!r}, came {came or 'no owner'!r}; give this shop its own lakehouse.path, or its own "
                "schemas"
            )

    def key_record(self) -> KeyRecord | None:
        """By which key the lakehouse is keyed; None before the first job."""
        return KeyRecord.read(self.recorded(KEY_PROPERTY))

    def record_key(self, record: KeyRecord) -> None:
        """Write down by which key the lakehouse is keyed."""
        self.record(KEY_PROPERTY, record.written)

    @property
    def time_zone(self) -> str:
        """The zone of the shop's days: the settings', else the lakehouse's, else UTC."""
        return self.settings.shop.time_zone or self.recorded(ZONE_PROPERTY) or "UTC"

    def keep_time_zone(self) -> None:
        """Write down a zone that the settings name, and say so where days were those of another."""
        asked, before = self.settings.shop.time_zone, self.recorded(ZONE_PROPERTY)
        if asked is None or asked == before:
            return
        self.record(ZONE_PROPERTY, asked)
        if asked != (before or "UTC") and self._has_events():
            log.warning(
                "days of lakehouse %s were those of %s and are those of %s from now on: each job makes its tables anew; "
                "`clm run stale --as-of %s` does it for past days",
                self.settings.lakehouse.path,
                before or "UTC",
                asked,
                self.settings.as_of,
            )

    def _has_events(self) -> bool:
        return self.spark.catalog.tableExists(self.table_name(EVENTS))

    def recorded(self, name: str) -> str | None:
        """What the lakehouse has written down under this name; None where it has not."""
        if not self.spark.catalog.databaseExists(self.name("silver")):
            return None
        return self._properties("silver").get(name)

    def record(self, name: str, value: str) -> None:
        """Write something down for the lakehouse as a whole."""
        self.make("silver")
        self._set("silver", name, value)

    def check_key(self, *, is_claimed: bool = False) -> str:
        """The fingerprint of the settings' key; raises `ContractError` when the lakehouse is keyed by another.

        With `is_claimed` a lakehouse that has none yet gets this one.
        """
        record = self.key_record()
        if record is not None:
            check_same(record, self.key, self.settings.lakehouse.path)
        elif is_claimed:
            self.record_key(KeyRecord(self.key.fingerprint))
        return self.key.fingerprint

    def _properties(self, kind: Kind) -> dict[str, str]:
        described = self.spark.sql(f"DESCRIBE SCHEMA EXTENDED {self.name(kind)}").collect()  # a handful of lines
        listed = next((row["info_value"] for row in described if row["info_name"] == "Properties"), "")
        return dict(re.findall(r"\(([\w.]+),([^()]*)\)", listed))

    def _set(self, kind: Kind, key: str, value: str) -> None:
        self.spark.sql(f"ALTER SCHEMA {self.name(kind)} SET DBPROPERTIES ('{key}' = '{value}')")


def _identifier(name: str) -> str:
    """A name as it stands in SQL: in backticks where it is no plain word, as `dev-main`."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f"`{name.replace('`', '``')}`"
