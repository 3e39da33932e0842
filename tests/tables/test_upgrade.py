"""A lakehouse of an earlier release, as its jobs left it, comes to this one with all that was in it."""

import os
import tarfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from clm_spark.errors import ContractError
from clm_spark.job import run_job
from clm_spark.jobs import build_features, migrate_tables
from clm_spark.models.registry import Registry
from clm_spark.tables import catalog as t
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake
from clm_spark.tables.plan import due_steps

RELEASES = sorted((Path(__file__).parent / "lakehouses").glob("*.tar.xz"))
AS_OF = date(2024, 6, 1)
KEY = Path(__file__).parents[2] / "conf" / "demo.key"
# What the steps must make of each release's rows, in SQL over {old}; today's other columns hold null.
AFTER_STEPS = {
    "0.1.0": {
        "bronze.ingested_batches": """
            SELECT * EXCEPT (first_learned_at, last_learned_at),
                   first_learned_at AS first_known_at, last_learned_at AS last_known_at FROM {old}""",
        "gold.customer_scores": """
            SELECT customer_id, as_of, score, probability AS value, 'probability' AS unit, false AS is_fallback,
                   'gbt' AS model, decile, model_version FROM {old}""",
        "gold.item_recommendations": """
            WITH best AS (
                SELECT customer_id, as_of, CASE WHEN bool_or(recommender = 'transformer') THEN 'transformer'
                    WHEN bool_or(recommender = 'als') THEN 'als' ELSE 'popularity' END AS recommender
                FROM {old} GROUP BY ALL)
            SELECT * EXCEPT (recommender), recommender AS source, 'home' AS surface, false AS is_sponsored
            FROM {old} JOIN best USING (customer_id, as_of, recommender)""",
        "gold.model_metrics": """
            SELECT *, false AS is_incumbent, false AS is_champion, 'unrecorded' AS comparison FROM {old}""",
        "gold.score_deciles": "SELECT *, 'unrecorded' AS model_version FROM {old}",
    }
}


def unpacked(release: Path, new_lake: Callable[..., Lake], folder: Path) -> Lake:
    """The lakehouse at another place, its tables registered anew in schemas of their own."""
    with tarfile.open(release) as tar:
        tar.extractall(folder, filter="data")
    for file in folder.rglob("*"):
        os.utime(file)  # Delta dates commits by their files, and reads no version that is a week old
    lake = new_lake(shop="demo_shop", as_of="2024-06-02", privacy={"key_file": str(KEY), "keep_raw_ids": True})
    for kind in ("bronze", "silver", "gold"):
        lake.schemas.make(kind)
    lake.schemas.check_key(is_claimed=True)
    for table in t.TABLES:
        place = folder / "tables" / f"{table.layer}.db" / table.name
        if place.is_dir():
            lake.spark.sql(f"CREATE TABLE {lake.name(table)} USING DELTA LOCATION 'file://{place}'")
    return lake


def run(lake: Lake, job, **changes) -> Lake:
    settings = lake.settings.model_copy(update=changes)
    name = job.__name__.removeprefix("clm_spark.jobs.")
    run_job(lake.spark, name, job.run, settings, reads_events=job is not migrate_tables)
    return Lake(lake.spark, settings)


def digest(rows: DataFrame, columns: list[str]) -> tuple[int, int]:
    """Number and summed hashes of the rows."""
    hashed = F.xxhash64(*(F.col(name).cast("string") for name in columns)).cast("decimal(38, 0)")
    return tuple(rows.agg(F.count("*"), F.sum(hashed)).head())


def at_version(lake: Lake, table: Table, version: int) -> DataFrame:
    return lake.spark.read.option("versionAsOf", version).table(lake.name(table))


def model_versions(lake: Lake, table: Table) -> set[str]:
    return {row.model_version for row in lake.read(table).select("model_version").distinct().collect()}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("release", RELEASES, ids=lambda file: file.name.removesuffix(".tar.xz"))
def test_a_lakehouse_comes_to_this_release_whole(release, new_lake, tmp_path):
    after_steps = AFTER_STEPS[release.name.removesuffix(".tar.xz")]
    lake = unpacked(release, new_lake, tmp_path)
    there = [table for table in t.TABLES if lake.exists(table)]
    assert len(there) > 30, "the fixture is no whole lakehouse"
    columns = {table.title: lake.stored(table).columns for table in there}
    versions = {table.title: lake.version(table) for table in there}
    rows = {table.title: digest(lake.stored(table), columns[table.title]) for table in there}
    stepped = {table.title for table in there if due_steps(table, lake.guard.read(table))}
    assert stepped == {*after_steps}
    assert [title for title in stepped if rows[title][0] == 0] == [], "the fixture has no row for a step to change"

    with pytest.raises(ContractError, match=r"is behind this release .* bring it up to date with `clm migrate --as-of"):
        run(lake, build_features, as_of=date(2024, 6, 2))
    run(lake, migrate_tables)
    for table in there:
        old = at_version(lake, table, versions[table.title])
        assert old.columns == columns[table.title], f"{table.title}: its history is another"
        assert digest(old, old.columns) == rows[table.title], f"{table.title}: its history is another"
        if table.title in stepped:
            expected = lake.spark.sql(after_steps[table.title], old=old)
            assertDataFrameEqual(lake.stored(table).select(expected.columns), expected)
            added = [name for name in table.schema.names if name not in expected.columns]
            is_filled = " OR ".join(f"{name} IS NOT NULL" for name in added) or "false"
            assert lake.stored(table).where(is_filled).isEmpty(), added
        elif table is not t.RUNS:
            assert digest(lake.stored(table), old.columns) == rows[table.title], table.title
        assert not lake.guard.read(table).differences(table)
    before = {table.title: lake.version(table) for table in there if table is not t.RUNS}
    run(lake, migrate_tables)
    assert {table.title: lake.version(table) for table in there if table is not t.RUNS} == before, (
        "a second one found something to do"
    )

    listed = lake.read(t.ITEM_RECOMMENDATIONS).select("customer_id", "as_of").distinct().count()
    had_list = at_version(lake, t.ITEM_RECOMMENDATIONS, versions[t.ITEM_RECOMMENDATIONS.title])
    assert listed == had_list.select("customer_id", "as_of").distinct().count(), "a customer lost every list"
    registry = Registry(lake.settings)
    for task, table in (("segments", t.SEGMENTS), ("churn", t.CUSTOMER_SCORES)):
        assert {registry.champion(task, AS_OF).version} == model_versions(lake, table)

    old = at_version(lake, t.CUSTOMER_FEATURES, versions[t.CUSTOMER_FEATURES.title]).where("as_of = '2024-06-02'")
    after = run(lake, build_features, as_of=date(2024, 6, 2))
    new = after.read_as_of(t.CUSTOMER_FEATURES, date(2024, 6, 2))
    assert sorted(new.select("customer_id").collect()) == sorted(old.select("customer_id").collect()) != []
