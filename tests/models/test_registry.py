from datetime import date
from pathlib import Path

import pytest
from conftest import lake_settings

from clm_spark.errors import ModelError
from clm_spark.models.registry import Registry, fingerprint
from clm_spark.settings import ChurnSettings

CHURN = ChurnSettings()


def registry(folder: Path, as_of: str) -> Registry:
    return Registry(lake_settings(folder, as_of=as_of))


def register(at: Registry, version: str, *, is_promoted: bool):
    def save(path: str) -> None:
        folder = Path(path.removeprefix("file://"))
        folder.mkdir(parents=True)
        (folder / "model").write_text(version)

    model = at.register(
        "churn", version, save=save, is_promoted=is_promoted, params=CHURN, metrics={"gbt.auc": 0.8}, inputs={"t": 3}
    )
    at.elect(model)
    return model


def test_the_model_in_use_is_the_last_one_promoted_by_that_day(tmp_path):
    january, february, march = (registry(tmp_path, day) for day in ("2024-01-01", "2024-02-01", "2024-03-01"))
    with pytest.raises(ModelError, match="no churn model is in use on 2024-01-01: expected one that was trained"):
        january.champion("churn", date(2024, 1, 1))
    register(january, "a", is_promoted=True)
    register(march, "c", is_promoted=True)
    register(february, "b", is_promoted=False)
    seen = {day: january.champion("churn", day).version for day in
            (date(2024, 1, 1), date(2024, 2, 28), date(2024, 3, 1), date(2025, 1, 1))}  # fmt: skip
    assert list(seen.values()) == ["a", "a", "c", "c"], "a day never sees a model from its future"
    assert january.find_champion("churn", date(2023, 12, 31)) is None

    register(march, "d", is_promoted=True)
    assert march.champion("churn", date(2024, 3, 1)).version == "d"
    again = march.find("churn", "c")
    march.elect(again)
    assert march.champion("churn", date(2024, 3, 1)) == again, "trained again with the settings of before"


def test_a_model_is_found_once_it_is_whole(tmp_path):
    today = registry(tmp_path, "2024-03-01")

    def dies_halfway(path: str) -> None:
        Path(path.removeprefix("file://")).mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        today.register("als", "v", save=dies_halfway, is_promoted=True, params=CHURN, metrics={}, inputs={})
    assert today.find("als", "v") is None

    made = register(today, "v", is_promoted=True)
    assert today.find("churn", "v") == made
    Path(made.path.removeprefix("file://"), "model").unlink()
    Path(made.path.removeprefix("file://")).rmdir()
    assert today.find("churn", "v") is None, "its files are gone"


def test_a_version_is_made_from_rows_settings_and_day(spark, tmp_path):
    rows = spark.createDataFrame([("a", 1.0), ("b", None), ("b", None)], "id string, x double")
    turned = rows.repartition(3, "x").select("x", "id").orderBy("id")
    today = registry(tmp_path, "2024-03-01")
    version = today.version("churn", rows, CHURN)
    assert version.startswith("churn-2024-03-01-")
    assert len(version) == len("churn-2024-03-01-") + 10
    assert today.version("churn", turned, CHURN) == version
    others = [
        today.version("churn", rows.distinct(), CHURN),
        today.version("churn", rows, CHURN.model_copy(update={"max_depth": 9})),
        registry(tmp_path, "2024-03-02").version("churn", rows, CHURN),
    ]
    assert len({version, *others}) == 4
    assert fingerprint(rows) != fingerprint(rows.where("x is not null"))


def test_a_store_out_of_reach_is_said_in_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("no database, but long enough to be read as the header of one " * 4)
    settings = lake_settings(tmp_path, tracking={"uri": f"sqlite:///{tmp_path}/notes.txt"})
    with pytest.raises(ModelError, match=r"the MLflow store at sqlite:.* cannot be used"):
        Registry(settings).champion("churn", date(2024, 1, 1))
    with pytest.raises(ModelError, match=r"set tracking\.uri"):
        Registry(lake_settings(tmp_path, lakehouse={"path": "s3://bucket/lake"})).champion("churn", date(2024, 1, 1))
