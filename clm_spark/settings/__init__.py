"""Settings, by area: frozen, typed, every default in one place; unknown keys are refused."""

from clm_spark.settings.customers import BotSettings, IdentitySettings, PrivacySettings, SessionizeSettings
from clm_spark.settings.features import DriftSettings, FeatureSettings, PanelSettings, RecommendSettings
from clm_spark.settings.ingest import IngestSettings, StreamSettings
from clm_spark.settings.loading import Settings, load_settings, settings_from
from clm_spark.settings.models import AlsSettings, ChurnSettings, SegmentSettings, TransformerSettings
from clm_spark.settings.packaged import conf_file
from clm_spark.settings.places import LakehouseSettings, ReportSettings, SparkSettings, TrackingSettings
from clm_spark.settings.section import Section, ZoneName

__all__ = [
    "AlsSettings",
    "BotSettings",
    "ChurnSettings",
    "DriftSettings",
    "FeatureSettings",
    "IdentitySettings",
    "IngestSettings",
    "LakehouseSettings",
    "PanelSettings",
    "PrivacySettings",
    "RecommendSettings",
    "ReportSettings",
    "Section",
    "SegmentSettings",
    "SessionizeSettings",
    "Settings",
    "SparkSettings",
    "StreamSettings",
    "TrackingSettings",
    "TransformerSettings",
    "ZoneName",
    "conf_file",
    "load_settings",
    "settings_from",
]
