"""Settings, by area: frozen, typed, every default in one place; unknown keys are refused."""

from clm_spark.settings.customers import BotSettings, IdentitySettings, PrivacySettings, SessionizeSettings
from clm_spark.settings.evaluation import EvaluationSettings
from clm_spark.settings.factors import FactorSettings
from clm_spark.settings.features import DriftSettings, FeatureSettings, PanelSettings, RecommendSettings
from clm_spark.settings.habits import HabitSettings
from clm_spark.settings.ingest import IngestSettings, StreamSettings
from clm_spark.settings.lifecycle import LifecycleSettings, RfmSettings
from clm_spark.settings.loading import Sections, Settings, load_settings, settings_from
from clm_spark.settings.monitoring import MonitoringSettings
from clm_spark.settings.packaged import conf_file
from clm_spark.settings.pages import NeighbourOrder, NeighbourSettings, RankingSettings
from clm_spark.settings.places import LakehouseSettings, ReportSettings, SparkSettings, TrackingSettings
from clm_spark.settings.section import MOST_DAYS, Days, Section, Seed, ZoneName
from clm_spark.settings.shop import ShopSettings
from clm_spark.settings.surfaces import ShopFactsSettings, SurfaceSettings, SurfacesSettings

__all__ = [
    "MOST_DAYS",
    "BotSettings",
    "Days",
    "DriftSettings",
    "EvaluationSettings",
    "FactorSettings",
    "FeatureSettings",
    "HabitSettings",
    "IdentitySettings",
    "IngestSettings",
    "LakehouseSettings",
    "LifecycleSettings",
    "MonitoringSettings",
    "NeighbourOrder",
    "NeighbourSettings",
    "PanelSettings",
    "PrivacySettings",
    "RankingSettings",
    "RecommendSettings",
    "ReportSettings",
    "RfmSettings",
    "Section",
    "Sections",
    "Seed",
    "SessionizeSettings",
    "Settings",
    "ShopFactsSettings",
    "ShopSettings",
    "SparkSettings",
    "StreamSettings",
    "SurfaceSettings",
    "SurfacesSettings",
    "TrackingSettings",
    "ZoneName",
    "conf_file",
    "load_settings",
    "settings_from",
]
