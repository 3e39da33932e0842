"""Changes of persons and bots since a table was written: ids that moved to another person, and flagged days."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.bots import CUSTOMER_DAY
from clm_spark.tables.catalog import BOT_DAYS, IDENTITIES
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake


@dataclass(frozen=True)
class Changes:
    """Changed rows; None where nothing changed.

    `moved` has a row per id that is another person's now: `id`, `was` and `person_id`, the person before and after.
    `bot_days` has a row per `customer_id`, an id of silver.events, and `day_on` that is flagged now and was not, or the
    other way round.
    """

    moved: DataFrame | None
    bot_days: DataFrame | None

    def __bool__(self) -> bool:
        return self.moved is not None or self.bot_days is not None


def changes_since(lake: Lake, table: Table) -> Changes | None:
    """Compare the versions that the table's last write had read with those that this run has read.

    None where the older versions are unknown or vacuumed. Read persons and bots before the call: what another job
    writes meanwhile is left to the next run.
    """
    last = next((commit for commit in lake.commits(table) if commit.is_ours), None)
    if last is None or not last.inputs:  # a write that names no inputs
        return None
    seen = last.inputs
    changed: list[DataFrame | None] = []
    for known, difference in ((IDENTITIES, moved_ids), (BOT_DAYS, changed_bot_days)):
        used = lake.inputs.get(known.title)
        if used is None or used == seen.get(known.title):
            changed.append(None)
            continue
        before, now = _as_seen(lake, known, seen), lake.read_version(known, used)
        if before is None or now is None:
            return None
        rows = difference(before, now).localCheckpoint()
        changed.append(None if rows.isEmpty() else rows)
    return Changes(*changed)


def moved_ids(before: DataFrame, now: DataFrame) -> DataFrame:
    """Ids whose person differs between two versions of silver.identities, as `Changes.moved`."""
    persons = _persons(before, "was").join(_persons(now, "person_id"), on="id", how="full")
    own = {name: F.coalesce(name, "id") for name in ("was", "person_id")}  # an id without a row is its own person
    return persons.withColumns(own).where("was != person_id")


def changed_bot_days(before: DataFrame, now: DataFrame) -> DataFrame:
    """Days flagged in only one of two versions of silver.bot_days, as `Changes.bot_days`."""
    old, new = (rows.select(*CUSTOMER_DAY).distinct() for rows in (before, now))
    gone = old.join(new, on=list(CUSTOMER_DAY), how="left_anti")
    return new.join(old, on=list(CUSTOMER_DAY), how="left_anti").unionByName(gone)


def _as_seen(lake: Lake, known: Table, seen: Mapping[str, int]) -> DataFrame | None:
    if known.title in seen:
        return lake.read_version(known, seen[known.title])
    return lake.spark.createDataFrame([], known.schema)  # there was none yet


def _persons(identities: DataFrame, name: str) -> DataFrame:
    return identities.groupBy("id").agg(F.max_by("customer_id", "known_on").alias(name))
