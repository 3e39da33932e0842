"""Model versions of one shop: found, registered once their files are whole, put in use from a day on, retired."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import clm_spark
from clm_spark import files
from clm_spark.models.registry.store import AS_OF, METADATA, MODEL, VERSION, Run, Store, Tags, store_for
from clm_spark.settings import Settings

log = logging.getLogger(__name__)

MODELS_OF_0_1 = {"segments": "kmeans", "churn": "gbt"}  # by task, where the model had the task's name
CURVES = "curves.json"
HOLDOUT = "holdout"  # in a version's folder: the model as it was tested, which has not seen the tested days
REGISTRATION = "registration.json"  # the last file of a version: with it, its files are whole


@dataclass(frozen=True)
class ModelVersion:
    """One trained model of a task: `version` is the name that scores carry, `path` the URL of its folder."""

    task: str
    model: str
    version: str
    as_of: date
    path: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Registry:
    """The models of one shop; their files lie under `{lakehouse.path}/models/{task}/{version}`.

    A version is registered after its files are whole, so a half-saved one is never found.
    """

    settings: Settings
    store: Store | None = None  # None: the one that the settings ask for

    def find(self, task: str, version: str) -> ModelVersion | None:
        """The version, where it is registered and its files are whole."""
        tags = self._tags(task, version)
        if tags is None or not self._is_whole(task, tags):
            return None
        log.info("%s is trained already: used again", version)
        return self._version(task, tags)

    def versions(self, task: str) -> list[ModelVersion]:
        """Every version of a task whose files are whole, oldest first."""
        whole = [tags for tags in self._store.entries(task) if self._is_whole(task, tags)]
        return sorted((self._version(task, tags) for tags in whole), key=lambda each: (each.as_of, each.version))

    def register(
        self,
        task: str,
        model: str,
        version: str,
        *,
        save: Callable[[str], None],
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        inputs: Mapping[str, int],
        metadata: Mapping[str, str],
    ) -> ModelVersion:
        """Let `save` write the version's files into the folder it is given, then register it.

        `inputs` are the Delta versions of the tables read. Files left there by a training that died are removed. Where
        `save` writes `curves.json`, lists of figures by epoch, they are logged as such; those of the tested model beside them,
        under names that begin with `tested_`.
        """
        path = self._path(task, version)
        files.remove(path)
        save(path)
        tags = {
            VERSION: version,
            MODEL: model,
            AS_OF: str(self.settings.as_of),
            METADATA: json.dumps(dict(metadata), sort_keys=True),
            "code_version": clm_spark.__version__,
            "inputs": json.dumps(dict(inputs), sort_keys=True),
        }
        files.write_text(f"{path}/{REGISTRATION}", json.dumps(tags, indent=2, sort_keys=True))
        tested = {f"tested_{name}": curve for name, curve in _curves(f"{path}/{HOLDOUT}").items()}
        curves = {**tested, **_curves(path)}
        self._store.add(task, tags, source=path, run=Run(params, metrics, curves))
        log.info("%s registered", version)
        return ModelVersion(task, model, version, self.settings.as_of, path, dict(metadata))

    def elect(self, version: ModelVersion, *, from_on: date) -> None:
        """Make a version the champion of its task from a day on, in the place of one elected for the same day."""
        self._store.begin_term(version.task, version.version, from_on)

    def champion(self, task: str, as_of: date) -> ModelVersion | None:
        """The version in use on the morning of `as_of`: the last one elected by then, whatever was trained since."""
        begun = {day: version for day, version in self._store.terms(task).items() if day <= as_of}
        if not begun:
            return None
        tags = self._tags(task, begun[max(begun)])
        return None if tags is None else self._version(task, tags)

    def staging(self, name: str) -> str:
        """An empty folder for the files of a model in training: what the last one left there is removed."""
        path = f"{self._home}/staging/{name}"
        files.remove(path)
        return path

    def retire(self, task: str) -> list[str]:
        """Remove the oldest versions beyond `tracking.keep_versions`; gives their names.

        Those stay that were the champion on any of the last `tracking.keep_days` days, or will be.
        """
        tracking = self.settings.tracking
        newest_first = sorted(self._store.entries(task), key=lambda tags: (tags[AS_OF], tags[VERSION]), reverse=True)
        in_use = self._champions_since(task, self.settings.as_of - timedelta(days=tracking.keep_days))
        retired = [tags for tags in newest_first[tracking.keep_versions :] if tags[VERSION] not in in_use]
        for tags in retired:
            # Not found any more without its last file; the entry goes when all files have, or the next run would miss some.
            files.remove(f"{self._path(task, tags[VERSION])}/{REGISTRATION}")
            files.remove(self._path(task, tags[VERSION]))
            self._store.remove(task, tags[VERSION])
        if retired:
            log.info("%s: %d old versions removed", task, len(retired))
        return [tags[VERSION] for tags in retired]

    def _champions_since(self, task: str, day: date) -> set[str]:
        terms = self._store.terms(task)
        begun = [start for start in terms if start <= day]
        return {version for start, version in terms.items() if start > day or start == max(begun, default=None)}

    def _tags(self, task: str, version: str) -> Tags | None:
        return next((tags for tags in self._store.entries(task) if tags[VERSION] == version), None)

    @cached_property
    def _store(self) -> Store:
        return self.store or store_for(self.settings)

    @property
    def _home(self) -> str:
        return files.as_url(self.settings.lakehouse.path)

    def _path(self, task: str, version: str) -> str:
        """Made from lakehouse.path, not stored: a lakehouse may be moved, or restored elsewhere."""
        return f"{self._home}/models/{task}/{version}"

    def _is_whole(self, task: str, tags: Tags) -> bool:
        path = self._path(task, tags[VERSION])
        return files.exists(path if _is_of_0_1(tags) else f"{path}/{REGISTRATION}")

    def _version(self, task: str, tags: Tags) -> ModelVersion:
        path = self._path(task, tags[VERSION])
        if _is_of_0_1(tags):
            model, metadata = MODELS_OF_0_1.get(task, task), {"is_promoted": tags["is_promoted"]}
        else:
            # Some back ends have no room for it.
            stored = tags.get(METADATA) or json.loads(files.read_text(f"{path}/{REGISTRATION}"))[METADATA]
            model, metadata = tags[MODEL], json.loads(stored)
        return ModelVersion(task, model, tags[VERSION], date.fromisoformat(tags[AS_OF]), path, metadata)


def _is_of_0_1(tags: Tags) -> bool:
    """Whether version 0.1 entered it, which wrote less."""
    return MODEL not in tags


def _curves(folder: str) -> dict[str, list[float]]:
    """Figures by epoch, by name; none where the model was not trained in epochs."""
    file = f"{folder}/{CURVES}"
    found: dict[str, list[float]] = json.loads(files.read_text(file)) if files.exists(file) else {}
    return found
