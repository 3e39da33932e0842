"""A lakehouse of an earlier release, as its jobs left it, comes to this one with all that was in it."""

import os
import tarfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from clm_spark.errors import ContractError
from clm_spark.job import run_job
from clm_spark.jobs import build_features, migrate_tables
from clm_spark.models.registry import Registry
from clm_spark.tables import catalog as t
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake
from clm_spark.tables.migrations import steps_of

RELEASES = sorted((Path(__file__).parent / "lakehouses").glob("*.tar.xz"))
KEY = Path(__file__).parents[2] / "conf" / "demo.key"
MAPPING = Path(__file__).parents[2] / "conf" / "sources" / "demo_shop.yml"


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


def digest(lake: Lake, table: Table, columns: list[str], where: str = "true") -> tuple[int, int]:
    """Number and summed hashes of the rows."""
    hashed = F.xxhash64(*(F.col(name).cast("string") for name in columns)).cast("decimal(38, 0)")
    return tuple(lake.stored(table).where(where).agg(F.count("*"), F.sum(hashed)).head())


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("release", RELEASES, ids=lambda file: file.name.removesuffix(".tar.xz"))
def test_a_lakehouse_comes_to_this_release_whole(release, new_lake, tmp_path):
    lake = unpacked(release, new_lake, tmp_path)
    there = [table for table in t.TABLES if lake.exists(table)]
    assert len(there) > 25, "the fixture is no whole lakehouse"
    columns = {table.title: lake.stored(table).columns for table in there}
    versions = {table.title: lake.version(table) for table in there}
    rows = {table.title: digest(lake, table, columns[table.title]) for table in there}
    listed = ["customer_id", "as_of", "rank", "item_id", "relevance", "model_version"]
    was_served = "recommender = 'als'" if release.name.startswith("0.1.0") else "true"
    lists = digest(lake, t.ITEM_RECOMMENDATIONS, listed, was_served)
    assert lists[0] > 0

    with pytest.raises(ContractError, match=r"is behind this release .* bring it up to date with `clm migrate --as-of"):
        run(lake, build_features, as_of=date(2024, 6, 2))
    run(lake, migrate_tables)
    for table in there:
        old = lake.spark.read.option("versionAsOf", versions[table.title]).table(lake.name(table))
        assert old.columns == columns[table.title], f"{table.title}: its history is another"
        if table is not t.RUNS and not steps_of(table.title):
            assert digest(lake, table, columns[table.title]) == rows[table.title], table.title
        assert not lake.guard.read(table).differences(table)
    before = {table.title: lake.version(table) for table in there if table is not t.RUNS}
    run(lake, migrate_tables)
    assert {table.title: lake.version(table) for table in there if table is not t.RUNS} == before, (
        "a second one found something to do"
    )

    assert digest(lake, t.ITEM_RECOMMENDATIONS, listed) == lists, "the lists that were served, and no others"
    assert {row.source for row in lake.read(t.ITEM_RECOMMENDATIONS).collect()} == {"als"}
    registry = Registry(lake.settings)
    (version,) = {row.model_version for row in lake.read(t.SEGMENTS).collect()}
    assert registry.champion("segments", date(2024, 6, 1)).version == version
    assert [model.as_of for model in registry.versions("churn")] == [date(2024, 6, 1)]

    after = run(lake, build_features, as_of=date(2024, 6, 2))
    assert after.read_as_of(t.CUSTOMER_FEATURES, date(2024, 6, 2)).count() > 50
