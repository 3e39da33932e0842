import json
import shutil
from datetime import date
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from conftest import lake_settings

from clm_spark.errors import ModelError
from clm_spark.files import local_path
from clm_spark.models.registry import Registry, fingerprint
from clm_spark.models.registry.folder_store import FolderStore
from clm_spark.models.registry.mlflow_store import MlflowStore
from clm_spark.models.registry.store import store_for
from clm_spark.models.registry.unity_catalog import UnityCatalogStore
from clm_spark.models.trees import GbtSettings

CHURN = GbtSettings()
# Unity Catalog's own server cannot be had: the same calls of the same client go to a local store.
STORES = {"mlflow": MlflowStore, "folder": FolderStore, "unity_catalog": UnityCatalogStore}


def on(day: str) -> date:
    return date.fromisoformat(day)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path:
    """MLflow takes seconds to make its tables."""
    folder = tmp_path_factory.mktemp("mlflow")
    MlflowStore(lake_settings(folder)).client  # noqa: B018
    return folder / "mlflow.db"


@pytest.fixture(params=STORES)
def opened(request, tmp_path, empty_database):
    """Opens the registry of `tmp_path` as of a day."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")

    def opened(as_of: str, **tracking) -> Registry:
        uri = f"sqlite:///{tmp_path}/mlflow.db"
        settings = lake_settings(tmp_path, as_of=as_of, tracking={"uri": uri, **tracking})
        return Registry(settings, store=STORES[request.param](settings))

    return opened


def register(at: Registry, version: str, **metadata):
    def save(path: str) -> None:
        local_path(path).mkdir(parents=True)
        (local_path(path) / "model").write_text(version)

    return at.register(
        "churn", "gbt", version, save=save, params={"depth": 3}, metrics={"gbt.auc": 0.8}, inputs={"t": 3},
        metadata=metadata,
    )  # fmt: skip


def test_the_model_in_use_is_the_last_one_elected_by_that_day(opened):
    january, february, march = map(opened, ("2024-01-01", "2024-02-01", "2024-03-01"))
    assert january.champion("churn", on("2024-01-01")) is None
    a, c = register(january, "a", features="x,y"), register(march, "c")
    register(february, "b")
    january.elect(a, from_on=on("2024-01-01"))
    march.elect(c, from_on=on("2024-03-01"))
    in_use = {day: march.champion("churn", on(day)).version for day in
              ("2024-01-01", "2024-02-29", "2024-03-01", "2025-01-01")}  # fmt: skip
    assert list(in_use.values()) == ["a", "a", "c", "c"], "a day never sees a model from its future"
    assert january.champion("churn", on("2023-12-31")) is None
    assert march.champion("churn", on("2024-02-01")) == a
    assert (a.model, a.as_of, a.metadata) == ("gbt", on("2024-01-01"), {"features": "x,y"})

    d = register(march, "d")
    march.elect(d, from_on=on("2024-03-01"))
    assert march.champion("churn", on("2024-03-01")) == d, "elected again for the same day"
    march.elect(c, from_on=on("2024-03-01"))
    assert march.champion("churn", on("2024-03-01")) == c
    assert march.champion("segments", on("2024-03-01")) is None
    assert [each.version for each in march.versions("churn")] == ["a", "b", "c", "d"]


def test_curves_are_logged_by_epoch(opened, tmp_path):
    today = opened("2024-03-01")

    def save(path: str) -> None:
        local_path(path).mkdir(parents=True)
        (local_path(path) / "curves.json").write_text('{"loss": [2.25]}')
        (local_path(path) / "holdout").mkdir()
        (local_path(path) / "holdout" / "curves.json").write_text('{"loss": [3.5, 2.5]}')

    today.register("churn", "gbt", "v", save=save, params={}, metrics={"auc": 0.8}, inputs={}, metadata={})
    if isinstance(today.store, FolderStore):
        (entry,) = tmp_path.rglob("v.json")
        assert json.loads(entry.read_text())["curves"] == {"loss": [2.25], "tested_loss": [3.5, 2.5]}
    else:
        (entry,) = today.store.client.search_model_versions("")
        logged = today.store.client.get_metric_history(entry.run_id, "loss")
        assert [(each.step, each.value) for each in logged] == [(1, 2.25)]
        tested = today.store.client.get_metric_history(entry.run_id, "tested_loss")
        assert [(each.step, each.value) for each in tested] == [(1, 3.5), (2, 2.5)]


def test_a_model_is_found_once_it_is_whole(opened, tmp_path):
    today = opened("2024-03-01")

    def dies_halfway(path: str) -> None:
        local_path(path).mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        today.register("churn", "gbt", "v", save=dies_halfway, params={}, metrics={}, inputs={}, metadata={})
    assert today.find("churn", "v") is None
    made = register(today, "v")
    assert today.find("churn", "v") == made
    assert made.path == f"file://{tmp_path}/models/churn/v"
    shutil.rmtree(local_path(made.path))
    assert today.find("churn", "v") is None, "its files are gone"

    draft = local_path(today.staging("als"))
    draft.mkdir(parents=True)
    (draft / "factors").touch()
    assert local_path(today.staging("als")) == draft
    assert not draft.exists()


def test_old_versions_are_retired_but_no_champion_of_late(opened, tmp_path):
    tracking = {"keep_versions": 2, "keep_days": 30}
    for month in range(1, 7):
        at = opened(f"2024-0{month}-01", **tracking)
        version = register(at, f"v{month}")
        if month in (1, 2, 4):
            at.elect(version, from_on=at.settings.as_of)
    today = opened("2024-06-01", **tracking)
    assert today.retire("churn") == ["v3", "v2", "v1"], "v4 is in use, v5 and v6 are the newest"
    assert [each.version for each in today.versions("churn")] == ["v4", "v5", "v6"]
    assert {folder.name for folder in (tmp_path / "models/churn").iterdir() if folder.name[0] == "v"} >= {"v4"}
    assert not (tmp_path / "models/churn/v1").exists()
    assert today.champion("churn", on("2024-06-01")).version == "v4"
    assert today.champion("churn", on("2024-02-15")) is None, "v2 was, and is gone"
    today.elect(today.find("churn", "v6"), from_on=on("2024-06-01"))
    may = opened("2024-07-15", **tracking)
    register(may, "v7")
    assert may.retire("churn") == ["v5", "v4"], "its last day in use was more than 30 days ago"


def test_a_lakehouse_that_was_moved_finds_its_models(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    before = Registry(lake_settings(old))
    before.elect(register(before, "v"), from_on=on("2024-03-01"))
    client = before._store.client
    # As version 0.1 entered models: other tags, and no file that says that the others are whole.
    old_tags = {"version": "v01", "as_of": "2024-02-01", "is_promoted": "true"}
    client.create_model_version("test_shop-churn", source="file:///gone", tags=old_tags)
    client.set_registered_model_alias("test_shop-churn", "champion-from-2024-02-01", "2")
    (old / "models/churn/v01").mkdir()
    old.rename(new)
    after = Registry(lake_settings(new))
    assert after.champion("churn", on("2024-03-01")).path == f"file://{new}/models/churn/v"
    assert [(each.version, each.model) for each in after.versions("churn")] == [("v01", "gbt"), ("v", "gbt")]
    assert after.champion("churn", on("2024-02-01")).metadata == {"is_promoted": "true"}
    assert json.loads((new / "models/churn/v/registration.json").read_text())["model"] == "gbt"


def test_unity_catalog_is_given_what_it_takes(tmp_path):
    """It refuses a folder that is no MLflow model with a signature, and its search tells no tags."""
    settings = lake_settings(tmp_path, tracking={"uri": f"sqlite:///{tmp_path}/mlflow.db"})
    registry = Registry(settings, store=UnityCatalogStore(settings))
    register(registry, "a_rule", features="x")
    client = registry.store.client
    (entry,) = client.search_model_versions("name = 'spark_catalog.gold.test_shop_churn'")
    model = mlflow.pyfunc.load_model(entry.source)
    assert model.metadata.signature.inputs.input_names() == ["customer_id"]
    with pytest.raises(ModelError, match="this version is a rule"):
        model.predict(pd.DataFrame({"customer_id": ["a"]}))
    assert "metadata" not in client.get_model_version(entry.name, entry.version).tags
    assert registry.find("churn", "a_rule").metadata == {"features": "x"}
    uc = lake_settings(tmp_path, tracking={"uri": "databricks", "registry_uri": "databricks-uc"})
    on_s3 = lake_settings(tmp_path, lakehouse={"path": "s3a://shop/lake"})
    stores = [type(store_for(each)).__name__ for each in (lake_settings(tmp_path), uc, on_s3)]
    assert stores == ["MlflowStore", "UnityCatalogStore", "FolderStore"]


def test_a_fingerprint_names_rows_whatever_their_order(spark):
    rows = spark.createDataFrame([("a", 1.0), ("b", None), ("b", None)], "id string, x double")
    turned = rows.repartition(3, "x").select("x", "id").orderBy("id")
    assert fingerprint(turned) == fingerprint(rows)
    assert len({fingerprint(rows), fingerprint(rows.distinct()), fingerprint(rows.where("x is not null"))}) == 3


def test_a_store_out_of_reach_is_said_in_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("no database, but long enough to be read as the header of one " * 4)
    settings = lake_settings(tmp_path, tracking={"uri": f"sqlite:///{tmp_path}/notes.txt"})
    with pytest.raises(ModelError, match=r"the MLflow store at sqlite:.* cannot be used"):
        Registry(settings).champion("churn", on("2024-01-01"))
