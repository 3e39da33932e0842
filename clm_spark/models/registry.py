"""The models a shop has learned: which there are, how well they did, and which one is in use on a day."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import clm_spark
from clm_spark.errors import ModelError
from clm_spark.session import local_path
from clm_spark.settings import Section, Settings

log = logging.getLogger(__name__)

CHAMPION = "champion"
CHAMPION_FROM = "champion-from-"  # followed by the as_of; an alias leads to one version


@dataclass(frozen=True)
class Model:
    """One trained model: `version` is the name that scores carry, `path` the URL of its files."""

    name: str
    version: str
    as_of: date
    path: str
    is_promoted: bool


@dataclass(frozen=True)
class Registry:
    """The models of one shop, in MLflow; their files lie under `{lakehouse.path}/models/{name}/{version}`.

    A model is registered after its files are whole, so a half-saved one is never found. Its version is made from what
    it learned from: training the same again finds it instead of making another.
    """

    settings: Settings

    def version(self, name: str, rows: DataFrame, *sections: Section) -> str:
        """The version that training on these rows with these settings makes: the same wherever and whenever it runs."""
        learned_from = [fingerprint(rows), *(part.model_dump_json() for part in sections), code_digest()]
        digest = hashlib.sha256("\n".join(learned_from).encode()).hexdigest()
        return f"{name}-{self.settings.as_of}-{digest[:10]}"

    def find(self, name: str, version: str) -> Model | None:
        """The model of that version, where it is registered and its files are still there."""
        found = self._client.search_model_versions(f"name = '{self._full_name(name)}' and tags.version = '{version}'")
        models = [_model(name, entry) for entry in found]
        whole = [model for model in models if local_path(model.path).is_dir()]
        if whole:
            log.info("%s is learned already: used again", version)
        return whole[0] if whole else None

    def models(self, name: str) -> list[Model]:
        """Every model of that name whose files are still there."""
        if _is_remote(self.settings.lakehouse.path) or not local_path(f"{_home(self.settings)}/models").is_dir():
            return []  # models lie in that folder alone
        found = self._client.search_model_versions(f"name = '{self._full_name(name)}'")
        models = [_model(name, entry) for entry in found]
        return [model for model in models if local_path(model.path).is_dir()]

    def register(
        self,
        name: str,
        version: str,
        *,
        save: Callable[[str], None],
        is_promoted: bool,
        params: Section,
        metrics: Mapping[str, float],
        inputs: Mapping[str, int],
    ) -> Model:
        """Let `save` write the model's files to the folder it is given, then register them.

        `inputs` are the Delta versions of the tables read. Files left there by a training that died are removed.
        """
        path = f"{_home(self.settings)}/models/{name}/{version}"
        shutil.rmtree(local_path(path), ignore_errors=True)
        save(path)
        tags = {
            "version": version,
            "as_of": str(self.settings.as_of),
            "is_promoted": str(is_promoted).lower(),
            "code_version": clm_spark.__version__,
            "inputs": json.dumps(dict(inputs), sort_keys=True),
        }
        run_id = self._log_run(version, params.model_dump(), metrics, tags)
        entry = self._client.create_model_version(self._made_name(name), source=path, run_id=run_id, tags=tags)
        log.info("%s registered, %s", version, "promoted" if is_promoted else "not promoted")
        return _model(name, entry)

    def elect(self, model: Model) -> None:
        """Put a promoted model in use from its as_of on; one that was not promoted changes nothing."""
        if not model.is_promoted:
            return
        name = self._full_name(model.name)
        entry = self._client.search_model_versions(f"name = '{name}' and tags.version = '{model.version}'")[0]
        self._client.set_registered_model_alias(name, f"{CHAMPION_FROM}{model.as_of}", entry.version)
        newest = max(self._terms(model.name).items())
        self._client.set_registered_model_alias(name, CHAMPION, newest[1])

    def workplace(self, name: str) -> str:
        """A folder for the files of a model in the making, overwritten by the next one."""
        return f"{_home(self.settings)}/models/{name}/in_the_making"

    def champion(self, name: str, as_of: date) -> Model:
        """The model in use on the morning of `as_of`: the last one promoted by then, whatever was trained since.

        Raises `ModelError` when there is none.
        """
        found = self.find_champion(name, as_of)
        if found is None:
            raise ModelError(
                f"no {name} model is in use on {as_of}: expected one that was trained and beat its baselines by then; "
                "run the job that trains it for that day, or read in gold.model_metrics why it was not promoted"
            )
        return found

    def find_champion(self, name: str, as_of: date) -> Model | None:
        """As `champion`, None when there is none."""
        started = {day: number for day, number in self._terms(name).items() if day <= as_of}
        if not started:
            return None
        entry = self._client.get_model_version(self._full_name(name), started[max(started)])
        return _model(name, entry)

    @cached_property
    def _client(self) -> Any:
        # Imported where it is needed: it takes seconds, and `clm --help` should not.
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        uri = self.settings.tracking.uri or _local_store(self.settings)
        try:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            if client.get_experiment_by_name(self.settings.tracking.experiment) is None:
                artifacts = f"{_home(self.settings)}/models/mlflow"
                client.create_experiment(self.settings.tracking.experiment, artifact_location=artifacts)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise ModelError(
                f"the MLflow store at {uri} cannot be used: {str(error).splitlines()[0]}; "
                "check tracking.uri, or leave it out for a local store"
            ) from error
        return client

    def _full_name(self, name: str) -> str:
        return f"{self.settings.shop}-{name}"  # a store can serve many shops

    def _made_name(self, name: str) -> str:
        full_name = self._full_name(name)
        if not self._client.search_registered_models(f"name = '{full_name}'"):
            self._client.create_registered_model(full_name)
        return full_name

    def _terms(self, name: str) -> dict[date, str]:
        """From which day on which version is in use."""
        found = self._client.search_registered_models(f"name = '{self._full_name(name)}'")
        aliases = dict(found[0].aliases) if found else {}
        return {
            date.fromisoformat(alias.removeprefix(CHAMPION_FROM)): str(number)
            for alias, number in aliases.items()
            if alias.startswith(CHAMPION_FROM)
        }

    def _log_run(
        self, version: str, params: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> str:
        from mlflow.entities import Metric, Param

        experiment = self._client.get_experiment_by_name(self.settings.tracking.experiment)
        run = self._client.create_run(experiment.experiment_id, run_name=version, tags=dict(tags))
        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(key, value, run.info.start_time, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
        )
        self._client.set_terminated(run.info.run_id)
        return str(run.info.run_id)


def fingerprint(rows: DataFrame) -> str:
    """A hash over all rows that does not ask for their order: their number and the sum of their hashes."""
    hashed = F.xxhash64(*sorted(rows.columns)).cast("decimal(38, 0)")
    summed = rows.agg(F.count("*").alias("num_rows"), F.sum(hashed).alias("sum")).head()
    assert summed is not None
    return f"{summed['num_rows']}:{summed['sum']}"


@lru_cache(maxsize=1)
def code_digest() -> str:
    """One over the code that learns and judges: a model made by other code is another model."""
    package = Path(clm_spark.__file__).parent
    files = sorted(file for folder in ("models", "evaluation") for file in (package / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _model(name: str, entry: Any) -> Model:
    return Model(
        name,
        entry.tags["version"],
        date.fromisoformat(entry.tags["as_of"]),
        entry.source,
        entry.tags["is_promoted"] == "true",
    )


def _home(settings: Settings) -> str:
    """The lakehouse's folder as a URL that Spark, its executors and pyarrow read alike."""
    path = settings.lakehouse.path
    if _is_remote(path):
        raise ModelError(
            f"the lakehouse at {path} is no folder: models are written to one that every machine sees; "
            "set lakehouse.path to a mount of it"
        )
    return f"file://{local_path(path)}"


def _is_remote(path: str) -> bool:
    return "://" in path.removeprefix("file://")


def _local_store(settings: Settings) -> str:
    home = settings.lakehouse.path
    if _is_remote(home):
        raise ModelError(
            f"the lakehouse at {home} is no local folder, so MLflow's store cannot lie in it: "
            "set tracking.uri to a tracking server or a database"
        )
    folder = local_path(home)
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}"
