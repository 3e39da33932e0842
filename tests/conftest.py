"""The one Spark session of the suite, and lakehouses that vanish with their test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from small_shop import SmallShop, fill

from clm_spark.models.catalogue import settings_from
from clm_spark.session import INTERPRETED, build_session
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake

SCHEMAS = ("bronze", "silver", "gold", "analysts")
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


def lake_settings(folder: Path, **changes: Any) -> Settings:
    """Settings of a small local lakehouse; changes are whole sections or plain keys."""
    return settings_from(
        {
            "shop": "test_shop",
            "as_of": "2024-03-01",
            "lakehouse": {"path": str(folder)},
            "privacy": {"key_file": str(Path(__file__).parent / "test.key"), "keep_raw_ids": True},
            "spark": {
                "master": "local[2]",
                "driver_memory": "3g",
                "shuffle_partitions": 2,
                "local_metastore": True,
                "conf": {
                    "spark.databricks.delta.snapshotPartitions": "1",
                    "spark.ui.enabled": "false",
                    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
                },
            },
            **changes,
        }
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--compiled", action="store_true", help="let Spark compile its plans, as it does for all but small shops"
    )


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[SparkSession]:
    # With a topic, for the session to bring Kafka's connector.
    settings = lake_settings(tmp_path_factory.mktemp("session"), stream={"topic": "tests"})
    if not request.config.getoption("--compiled"):
        settings.spark.conf.update(INTERPRETED)
    session = build_session(settings, app_name="tests")
    yield session
    session.stop()


@pytest.fixture(autouse=True)
def nothing_stays_cached() -> Iterator[None]:
    """Every plan is compared with all that is cached: what a test leaves behind would slow down those after it."""
    yield
    if session := SparkSession.getActiveSession():
        session.catalog.clearCache()


@pytest.fixture
def new_lake(spark: SparkSession, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Lake]]:
    """Makes empty lakehouses in schemas of their own: `new_lake(as_of=..., churn={...})`."""
    made: list[str] = []

    def make(**changes: Any) -> Lake:
        prefix = f"t{abs(hash(request.node.nodeid)) % 10**9}_{len(made)}"
        schemas = {kind: f"{prefix}_{kind}" for kind in SCHEMAS}
        made.append(prefix)
        settings = lake_settings(tmp_path, **changes)
        lakehouse = settings.lakehouse.model_copy(update=schemas)
        return Lake(spark, settings.model_copy(update={"lakehouse": lakehouse}))

    yield make
    for prefix in made:
        for kind in SCHEMAS:
            spark.sql(f"DROP SCHEMA IF EXISTS {prefix}_{kind} CASCADE")


@pytest.fixture
def lake(new_lake: Callable[..., Lake]) -> Lake:
    """An empty lakehouse."""
    return new_lake()


@pytest.fixture(scope="session")
def small_shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallShop]:
    """One filled lakehouse for every test that only reads."""
    folder = tmp_path_factory.mktemp("small_shop")
    schemas = {kind: f"small_shop_{kind}" for kind in SCHEMAS}
    settings = lake_settings(
        folder,
        ingest={"source": "rees46", "path": str(folder / "events.csv")},
        features={"panel_size": 1},
        lakehouse={"path": str(folder), **schemas},
    )
    yield fill(spark, settings)
    for schema in schemas.values():
        spark.sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def real_data(folder: str) -> Path:
    """A folder of the real data sets, or a skipped test."""
    path = REAL_DATA / folder
    if not path.is_dir():
        pytest.skip(f"needs the real data set {folder} at {path}, which is not redistributable")
    return path
