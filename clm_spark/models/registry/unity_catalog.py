"""The registry in Databricks' Unity Catalog: written by its documented rules and MLflow's client, never run there.

Its search gives neither tags nor aliases, and a model has few aliases: so each version is asked for on its own, and its
days as champion stand in one of its tags. `champion` is an alias all the same, for those who serve models by it.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from pyspark.sql import types as T

from clm_spark import files
from clm_spark.models.registry.flavours import describe_pyfunc
from clm_spark.models.registry.mlflow_store import connected, log_run
from clm_spark.models.registry.store import CHAMPION, METADATA, VERSION, Run, Tags
from clm_spark.settings import Settings

IN_USE_FROM = "in_use_from"  # days, separated by spaces
RETIRED_FROM = "retired_champion_from"
MAX_DAYS = 20  # in a tag, the newest ones: a tag's value is short


@dataclass(frozen=True)
class UnityCatalogStore:
    """Entries as registered models `{lakehouse.catalog}.{lakehouse.gold}.{shop}_{task}`."""

    settings: Settings

    def add(self, task: str, tags: Tags, *, source: str, run: Run) -> None:
        """Log the training as a run, and enter the version: Unity Catalog takes a copy of its files."""
        name = self._name(task)
        if self._model(task) is None:
            self.client.create_registered_model(name)
        run_id = log_run(self.client, self.settings, tags, run)
        short = {key: value for key, value in tags.items() if key != METADATA}  # it stands with the files
        self.client.create_model_version(name, source=_mlflow_model(source), run_id=run_id, tags=short)

    def entries(self, task: str) -> list[Tags]:
        """The tags of every version."""
        return [entry.tags for entry in self._versions(task)]

    def begin_term(self, task: str, version: str, from_on: date) -> None:
        """Set `champion` to the newest champion, then take the day from the version that has it and give it to this one."""
        name, newest = self._name(task), max((self.terms(task) | {from_on: version}).items())[1]
        number = next((entry.version for entry in self._versions(task) if entry.tags[VERSION] == newest), None)
        if number is not None:
            self.client.set_registered_model_alias(name, CHAMPION, number)
        for entry in self._versions(task):
            days, asked = _days(entry.tags), entry.tags[VERSION] == version
            new = days | {from_on} if asked else days - {from_on}
            if new != days:
                self._write_days(name, entry, new)

    def terms(self, task: str) -> dict[date, str]:
        """From which day on which version is in use."""
        model = self._model(task)
        retired = dict.fromkeys(_days(model.tags, RETIRED_FROM), "") if model is not None else {}
        return retired | {day: entry.tags[VERSION] for entry in self._versions(task) for day in _days(entry.tags)}

    def remove(self, task: str, version: str) -> None:
        """Delete the version; its days stay taken, or an older champion would seem to have been in use on them."""
        name, model = self._name(task), self._model(task)
        for entry in self._versions(task):
            if entry.tags[VERSION] == version:
                days = _days(entry.tags) | _days(model.tags, RETIRED_FROM)
                if days:
                    self.client.set_registered_model_tag(name, RETIRED_FROM, _text(days))
                self.client.delete_model_version(name, entry.version)

    @cached_property
    def client(self) -> Any:
        """MLflow's client, connected."""
        return connected(self.settings, self.settings.tracking.uri or "databricks")

    def _name(self, task: str) -> str:
        place = self.settings.lakehouse
        return f"{place.catalog}.{place.gold}.{self.settings.shop.name}_{task}"

    def _model(self, task: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_registered_model(self._name(task))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
                raise
            return None

    def _versions(self, task: str) -> list[Any]:
        if self._model(task) is None:
            return []
        name = self._name(task)
        found = self.client.search_model_versions(f"name = '{name}'", max_results=10_000)
        return [self.client.get_model_version(name, entry.version) for entry in found]

    def _write_days(self, name: str, entry: Any, days: set[date]) -> None:
        if days:
            self.client.set_model_version_tag(name, entry.version, IN_USE_FROM, _text(days))
        else:
            self.client.delete_model_version_tag(name, entry.version, IN_USE_FROM)


def _mlflow_model(path: str) -> str:
    """The folder of a version that holds an MLflow model: nothing else may be registered."""
    for folder in (f"{path}/model", path):
        if files.exists(f"{folder}/MLmodel"):
            return folder
    describe_pyfunc(
        path,
        loader_module="clm_spark.models.registry.rule",
        inputs={"customer_id": T.StringType()},
        outputs={"customer_id": T.StringType(), "score": T.DoubleType()},
        params={},
        packages=("clm-spark",),
    )
    return path


def _days(tags: Tags, tag: str = IN_USE_FROM) -> set[date]:
    return {date.fromisoformat(day) for day in tags.get(tag, "").split()}


def _text(days: set[date]) -> str:
    return " ".join(map(str, sorted(days)[-MAX_DAYS:]))
