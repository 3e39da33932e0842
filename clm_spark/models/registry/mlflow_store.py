"""The registry in open-source MLflow: a registered model per task, an alias per day on which a champion began."""

import logging
import threading
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from clm_spark.errors import ModelError
from clm_spark.files import is_here, local_path
from clm_spark.models.registry.store import CHAMPION, VERSION, Run, Tags
from clm_spark.settings import Settings

_CONNECTING = threading.Lock()  # two jobs side by side must not both make the database and the experiment
CHAMPION_FROM = "champion-from-"  # followed by the day; an alias leads to one version
RETIRED_FROM = "retired-champion-from-"  # the same of a version that was removed: a tag, its value the version


@dataclass(frozen=True)
class MlflowStore:
    """Entries in the MLflow server or database of `tracking`; None: a SQLite file in a local lakehouse."""

    settings: Settings

    def add(self, task: str, tags: Tags, *, source: str, run: Run) -> None:
        """Log the training as a run, and enter the version."""
        name = self._name(task)
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        run_id = log_run(self.client, self.settings, tags, run)
        self.client.create_model_version(name, source=source, run_id=run_id, tags=dict(tags))

    def entries(self, task: str) -> list[Tags]:
        """The tags of every version."""
        return [entry.tags for entry in self._versions(task)]

    def begin_term(self, task: str, version: str, from_on: date) -> None:
        """Set `champion` to the newest champion, then the alias of the day: with that, the term has begun."""
        name, numbers = self._name(task), {entry.tags[VERSION]: entry.version for entry in self._versions(task)}
        newest = max((self.terms(task) | {from_on: version}).items())[1]
        if newest in numbers:
            self.client.set_registered_model_alias(name, CHAMPION, numbers[newest])
        self.client.set_registered_model_alias(name, f"{CHAMPION_FROM}{from_on}", numbers[version])

    def terms(self, task: str) -> dict[date, str]:
        """From which day on which version is in use."""
        found = self.client.search_registered_models(f"name = '{self._name(task)}'")
        if not found:
            return {}
        names = {str(entry.version): entry.tags[VERSION] for entry in self._versions(task)}
        retired = {_day(tag, RETIRED_FROM): value for tag, value in found[0].tags.items() if RETIRED_FROM in tag}
        aliases = {alias: names.get(str(number), "") for alias, number in found[0].aliases.items()}
        return retired | {_day(alias, CHAMPION_FROM): name for alias, name in aliases.items() if CHAMPION_FROM in alias}

    def remove(self, task: str, version: str) -> None:
        """Delete the version; its days stay taken, or an older champion would seem to have been in use on them."""
        name = self._name(task)
        for day, champion in self.terms(task).items():
            if champion == version:
                self.client.set_registered_model_tag(name, f"{RETIRED_FROM}{day}", version)
        for entry in self._versions(task):
            if entry.tags[VERSION] == version:
                self.client.delete_model_version(name, entry.version)

    @cached_property
    def client(self) -> Any:
        """MLflow's client, connected. Raises `ModelError` where the store cannot be used."""
        return connected(self.settings, self.settings.tracking.uri or _local_store(self.settings))

    def _name(self, task: str) -> str:
        return f"{self.settings.shop.name}-{task}"  # a store can serve many shops

    def _versions(self, task: str) -> list[Any]:
        return list(self.client.search_model_versions(f"name = '{self._name(task)}'", max_results=10_000))


def connected(settings: Settings, uri: str) -> Any:
    """A client of the store, with the experiment that runs are logged to."""
    # Imported where it is needed: it takes seconds, and `clm --help` should not.
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    tracking = settings.tracking
    try:
        with _CONNECTING:
            client = MlflowClient(tracking_uri=uri, registry_uri=tracking.registry_uri or uri)
            if client.get_experiment_by_name(tracking.experiment) is None:
                # A server knows a place for artifacts; a local store would make a folder wherever the process runs.
                artifacts = None if tracking.uri else f"file://{local_path(settings.lakehouse.path)}/models/mlflow"
                client.create_experiment(tracking.experiment, artifact_location=artifacts)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise ModelError(
            f"the MLflow store at {uri} cannot be used: {str(error).splitlines()[0]}; "
            "check tracking.uri, or leave it out for a local store"
        ) from error
    return client


def log_run(client: Any, settings: Settings, tags: Tags, run: Run) -> str:
    """Log the training of a version as a run of that name, its curves by epoch; gives the run's id."""
    from mlflow.entities import Metric, Param

    experiment = client.get_experiment_by_name(settings.tracking.experiment)
    logged = client.create_run(experiment.experiment_id, run_name=tags[VERSION], tags=dict(tags)).info
    at = logged.start_time
    client.log_batch(
        logged.run_id,
        metrics=[
            *(Metric(key, value, at, 0) for key, value in run.metrics.items()),
            *(
                Metric(key, value, at, epoch)
                for key, curve in run.curves.items()
                for epoch, value in enumerate(curve, 1)
            ),
        ],
        params=[Param(key, str(value)) for key, value in run.params.items()],
    )
    client.set_terminated(logged.run_id)
    return str(logged.run_id)


def _day(name: str, prefix: str) -> date:
    return date.fromisoformat(name.removeprefix(prefix))


def _local_store(settings: Settings) -> str:
    home = settings.lakehouse.path
    if not is_here(home):
        raise ModelError(
            f"the lakehouse at {home} is no local folder, so MLflow's store cannot lie in it: "
            "set tracking.uri to a tracking server or a database"
        )
    folder = local_path(home)
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}"
