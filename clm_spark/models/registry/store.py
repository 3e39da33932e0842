"""What a back end of the registry must offer, and which one the settings ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from clm_spark.files import is_here
from clm_spark.settings import Settings

Tags = Mapping[str, str]

# Tags of a version.
VERSION, MODEL, AS_OF, METADATA = "version", "model", "as_of", "metadata"

CHAMPION = "champion"


@dataclass(frozen=True)
class Run:
    """What is logged of a training: its settings, its figures, and how figures went from epoch to epoch."""

    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[float]]


class Store(Protocol):
    """Entries of model versions, and the days from which each is the champion of its task."""

    def add(self, task: str, tags: Tags, *, source: str, run: Run) -> None:
        """Enter a version, whose files at `source` are whole."""

    def entries(self, task: str) -> list[Tags]:
        """The tags of every version entered."""

    def begin_term(self, task: str, version: str, from_on: date) -> None:
        """Put a version in use from a day on, in the place of one that began on the same day."""

    def terms(self, task: str) -> dict[date, str]:
        """From which day on which version is in use; a version may have been removed since."""

    def remove(self, task: str, version: str) -> None:
        """Forget a version."""


def store_for(settings: Settings) -> Store:
    """Unity Catalog or MLflow where the settings name one, MLflow in a local lakehouse, else files in the lakehouse."""
    from clm_spark.models.registry.folder_store import FolderStore
    from clm_spark.models.registry.mlflow_store import MlflowStore
    from clm_spark.models.registry.unity_catalog import UnityCatalogStore

    tracking = settings.tracking
    if (tracking.registry_uri or "").startswith("databricks-uc"):
        return UnityCatalogStore(settings)
    if tracking.uri or tracking.registry_uri or is_here(settings.lakehouse.path):
        return MlflowStore(settings)
    return FolderStore(settings)
