"""Every task and every model. Settings, jobs, pipeline, key changes and the report follow from these declarations."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from clm_spark import settings as areas
from clm_spark.errors import ModelError, SettingsError
from clm_spark.models import churn, purchase
from clm_spark.models.als import Als
from clm_spark.models.favourites import OwnFavourites
from clm_spark.models.popularity import Popularity, RecentPopularity
from clm_spark.models.ranker.alike import Nmf, Svd, UserNeighbours
from clm_spark.models.ranker.model import Ranker
from clm_spark.models.recommendation import Recommendation
from clm_spark.models.segments.chance import RandomSegments
from clm_spark.models.segments.density import DensitySegments
from clm_spark.models.segments.kmeans import BisectingSegments, KMeansSegments
from clm_spark.models.segments.task import Segmentation
from clm_spark.models.task import Model, Task
from clm_spark.models.transformer.model import Transformer
from clm_spark.models.value import task as value
from clm_spark.settings import Section, Settings

TASKS: tuple[Task, ...] = (Segmentation(), churn.Churn(), purchase.Purchase(), value.Value(), Recommendation())

# Of each task the simpler first: where two tie, the earlier is served.
MODELS: tuple[Model, ...] = (
    KMeansSegments(),
    BisectingSegments(),
    DensitySegments(),
    RandomSegments(),
    *churn.ENTRANTS,
    *purchase.ENTRANTS,
    *value.ENTRANTS,
    Popularity(),
    RecentPopularity(),
    OwnFavourites(),
    UserNeighbours(),
    Svd(),
    Nmf(),
    Als(),
    Ranker(),
    Transformer(),
)


def sections() -> tuple[type[Section], ...]:
    """The settings sections of all tasks and models, each once."""
    declared = [*(task.section for task in TASKS), *(model.section for model in MODELS)]
    return tuple(dict.fromkeys(section for section in declared if section is not None))


def load_settings(
    profile: str, *, as_of: date | str, overrides: Sequence[str] = (), conf_dir: str | None = None
) -> Settings:
    """As `clm_spark.settings.load_settings`, with the sections of tasks and models."""
    return _checked(
        areas.load_settings(profile, as_of=as_of, overrides=overrides, conf_dir=conf_dir, sections=sections())
    )


def settings_from(values: Mapping[str, Any]) -> Settings:
    """As `clm_spark.settings.settings_from`, with the sections of tasks and models."""
    return _checked(areas.settings_from(values, sections()))


def find_model(task: str, name: str) -> Model | None:
    """The task's model of that name; None where it is no longer declared."""
    return next((model for model in MODELS if model.task == task and model.name == name), None)


def model_named(task: str, name: str) -> Model:
    """As `find_model`; raises `ModelError` where it is not declared."""
    found = find_model(task, name)
    if found is None:
        known = ", ".join(model.name for model in MODELS if model.task == task)
        raise ModelError(f"{task} is served by {name!r}, which is not declared any more: expected one of {known}")
    return found


def _checked(settings: Settings) -> Settings:
    known, asked = {model.name for model in MODELS}, settings.evaluation
    for setting, names in (("leave_out", asked.leave_out), ("take_in", asked.take_in)):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise SettingsError(
                f"evaluation.{setting}={', '.join(unknown)} is no model: expected some of {', '.join(sorted(known))}"
            )
    both = [name for name in asked.take_in if name in asked.leave_out]
    if both:
        raise SettingsError(f"evaluation.take_in and evaluation.leave_out both name {', '.join(both)}: name it in one")
    return settings


def entrants_of(task: Task, settings: Settings) -> list[Model]:
    """The task's models that take part."""
    return [m for m in MODELS if m.task == task.name and reason_left_out(m, settings) is None]


def reason_left_out(model: Model, settings: Settings) -> str | None:
    """Which setting keeps the model from taking part; None where it does take part."""
    if model.name in settings.evaluation.leave_out:
        return "evaluation.leave_out names it"
    if model.is_optional and model.name not in settings.evaluation.take_in:
        return "evaluation.take_in does not name it"
    return None
