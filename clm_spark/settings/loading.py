"""Settings: frozen, typed, every default in one place; unknown keys are refused.

Later layers win: the defaults here, `conf/base.yml`, `conf/<profile>.yml`, then `--set key=value`. A profile with
`extends: other` is merged over that one.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from clm_spark.errors import SettingsError
from clm_spark.settings.customers import BotSettings, IdentitySettings, PrivacySettings, SessionizeSettings
from clm_spark.settings.evaluation import EvaluationSettings
from clm_spark.settings.factors import FactorSettings
from clm_spark.settings.features import DriftSettings, FeatureSettings, PanelSettings, RecommendSettings
from clm_spark.settings.habits import HabitSettings
from clm_spark.settings.ingest import IngestSettings, StreamSettings
from clm_spark.settings.lifecycle import LifecycleSettings, RfmSettings
from clm_spark.settings.monitoring import MonitoringSettings
from clm_spark.settings.packaged import PACKAGED_CONF
from clm_spark.settings.pages import NeighbourSettings, RankingSettings
from clm_spark.settings.places import LakehouseSettings, ReportSettings, SparkSettings, TrackingSettings
from clm_spark.settings.section import Section
from clm_spark.settings.shop import ShopSettings, with_named_shop
from clm_spark.settings.surfaces import ShopFactsSettings, SurfacesSettings, check_surfaces

Asked = TypeVar("Asked", bound=Section)
Sections = Sequence[type[Section]]


class Settings(Section):
    """All settings of a run."""

    shop: ShopSettings = ShopSettings()
    as_of: date = Field(description="features see events before this day, labels only from it on")
    lakehouse: LakehouseSettings = LakehouseSettings()
    spark: SparkSettings = SparkSettings()
    ingest: IngestSettings = IngestSettings()
    stream: StreamSettings = StreamSettings()
    bots: BotSettings = BotSettings()
    privacy: PrivacySettings = PrivacySettings()
    identity: IdentitySettings = IdentitySettings()
    sessions: SessionizeSettings = SessionizeSettings()
    features: FeatureSettings = FeatureSettings()
    drift: DriftSettings = DriftSettings()
    panel: PanelSettings = PanelSettings()
    lifecycle: LifecycleSettings = LifecycleSettings()
    rfm: RfmSettings = RfmSettings()
    factors: FactorSettings = FactorSettings()
    habits: HabitSettings = HabitSettings()
    recommend: RecommendSettings = RecommendSettings()
    surfaces: SurfacesSettings = SurfacesSettings()
    shop_facts: ShopFactsSettings = ShopFactsSettings()
    neighbours: NeighbourSettings = NeighbourSettings()
    rankings: RankingSettings = RankingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    tracking: TrackingSettings = TrackingSettings()
    report: ReportSettings = ReportSettings()
    models: Mapping[str, SerializeAsAny[Section]] = Field(
        default_factory=dict,
        description="sections of tasks and models, by key; in the files they stand beside the others",
    )

    @model_validator(mode="after")
    def _surfaces_have_what_they_ask_for(self) -> Self:
        check_surfaces(self.surfaces, self.shop_facts, top_k=self.recommend.top_k)
        return self

    @property
    def digest(self) -> str:
        """Names the settings that decide rows and where they go, all but Spark's: sha-256, hexadecimal."""
        return hashlib.sha256(self.model_dump_json(exclude={"spark"}).encode()).hexdigest()

    def of(self, section: type[Asked]) -> Asked:
        """The section of a task or a model, which is declared where the model is; its defaults where none was read."""
        found = self.models.get(section.key)
        return found if isinstance(found, section) else section()

    def with_section(self, section: Section) -> Self:
        """The same, with that section of a task or a model in place of its own."""
        return self.model_copy(update={"models": {**self.models, section.key: section}})


def load_settings(
    profile: str,
    *,
    as_of: date | str,
    overrides: Sequence[str] = (),
    conf_dir: str | None = None,
    sections: Sections = (),
) -> Settings:
    """Read `base.yml` and `<profile>.yml`, then apply `section.key=value` overrides.

    `sections` are those of tasks and models: `clm_spark.models.catalogue` passes them. Raises `SettingsError` naming every unknown or unusable key at once.
    """
    folder = _conf_folder(conf_dir)
    values = _merged(_read_yaml(folder / "base.yml"), _profile(folder, profile))
    for override in overrides:
        values = _merged(values, _override(override))
    return settings_from({**values, "as_of": as_of}, sections)


def _profile(folder: Traversable, name: str) -> dict[str, Any]:
    file = folder / f"{name}.yml"
    if not file.is_file():
        names = [
            name.removesuffix(".yml") for name in (file.name for file in folder.iterdir()) if name.endswith(".yml")
        ]
        known = ", ".join(sorted({*names} - {"base"}))
        raise SettingsError(f"profile {name!r} is unknown: {folder} has {known}; add {file.name} or name one of these")
    values = _read_yaml(file)
    extended = values.pop("extends", None)
    return values if extended is None else _merged(_profile(folder, extended), values)


def settings_from(values: Mapping[str, Any], sections: Sections = ()) -> Settings:
    """Check plain values into `Settings`; keys of `sections` are read by these."""
    values = with_named_shop(values)
    by_key = {section.key: section for section in sections}
    problems, models = [], {}
    for key, section in by_key.items():
        try:
            models[key] = section.model_validate(values.get(key) or {})
        except ValidationError as error:
            problems += [_problem(each, key) for each in error.errors()]
    try:
        settings = Settings.model_validate({**{k: v for k, v in values.items() if k not in by_key}, "models": models})
    except ValidationError as error:
        problems += [_problem(each) for each in error.errors()]
    if problems:
        raise SettingsError("settings: " + "; ".join(problems))
    return settings


def _problem(error: Any, *section: str) -> str:
    key = ".".join(map(str, (*section, *error["loc"])))
    if not key:
        return str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{key} is unknown: remove it, or look for its right name in clm_spark/settings, or with its model in clm_spark/models"
    return f"{key}: {error['msg']}, got {error['input']!r}"


def _conf_folder(conf_dir: str | None) -> Traversable:
    asked = conf_dir or os.environ.get("CLM_CONF_DIR")
    if asked:
        folder = Path(asked)
        if not folder.is_dir():
            raise SettingsError(
                f"no settings folder at {folder}: expected one with base.yml; give --conf-dir or CLM_CONF_DIR"
            )
        return folder
    return Path("conf") if Path("conf/base.yml").is_file() else PACKAGED_CONF


def _read_yaml(file: Traversable) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError:
        raise SettingsError(
            f"no settings file at {file}: expected YAML; restore it or give another --conf-dir"
        ) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{file} must hold `section: {{key: value}}`, got a {type(values).__name__}")
    return with_named_shop(values)


def _override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SettingsError(f"--set takes section.key=value, got {text!r}")
    if not value.strip():
        raise SettingsError(
            f"--set {text} has no value: a variable may be empty; write {key}=null for none, or {key}='\"\"' for an empty text"
        )
    try:
        values: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        values = value
    for part in reversed(key.strip().split(".")):
        values = {part: values}
    return with_named_shop(values)


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
