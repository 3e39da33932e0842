"""Settings: frozen, typed, every default in one place; unknown keys are refused.

Later layers win: the defaults here, `conf/base.yml`, `conf/<profile>.yml`, then `--set key=value`. A profile that
says `extends: other` is laid over that one.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from clm_spark.errors import SettingsError

PACKAGED_CONF = Path(__file__).parent / "conf"  # where the wheel carries a copy of conf/


def _is_zone(name: str) -> str:
    # Bare names such as CST or EST mean more than one place, and not the same to all who read them.
    if name != "UTC" and not ("/" in name and name in available_timezones()):
        raise ValueError("expected UTC or an IANA name such as Europe/Vienna")
    return name


ZoneName = Annotated[str, AfterValidator(_is_zone)]


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LakehouseSettings(Section):
    """Where tables live. Names are `{catalog}.{schema}.{table}`."""

    path: str = Field(
        "lakehouse", description="folder of tables, models and the local metastore, seen by every machine"
    )
    catalog: str = "spark_catalog"
    bronze: str = "bronze"
    silver: str = "silver"
    gold: str = "gold"
    analysts: str = Field("analysts", description="schema of the views for analysts: every table, no sensitive column")


class SparkSettings(Section):
    """How the session is built when this process is the one that builds it."""

    master: str | None = Field(None, description="None: whatever spark-submit or the platform says")
    driver_memory: str = "6g"
    shuffle_partitions: Annotated[int, Field(ge=1)] = 200
    delta_jars: Literal["fetch", "provided"] = Field(
        "fetch", description="provided: the image or platform has Delta's jars, nothing is fetched"
    )
    local_metastore: bool = Field(False, description="keep a Derby metastore under lakehouse.path")
    conf: dict[str, str] = Field(default_factory=dict, description="further Spark settings")


class IngestSettings(Section):
    """Where raw records come from."""

    source: str = Field("", description="one of clm_spark.sources")
    path: str = Field("", description="file, folder or URL of the raw log")
    joins_other_sources: bool = Field(
        False, description="a shop whose lakehouse takes in more than one format; else that is taken for a mistake"
    )
    mapping: str | None = Field(None, description="the YAML mapping of source `mapping`")
    batch_bytes: Annotated[int, Field(ge=1)] = Field(
        1 << 30,
        description="files taken in together, as many as stay below this; a batch is parsed once and kept on local disk meanwhile",
    )
    max_rejected_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="a batch of which a larger share cannot be used is refused: more likely a wrong mapping"
    )
    tolerated_rejects: Annotated[int, Field(ge=0)] = Field(
        20, description="so many never stop a run, however large their share: a step of a stream may hold few records"
    )
    known_at: Literal["occurred", "arrived"] = Field(
        "occurred",
        description="occurred: a history, each event known the moment it happened; "
        "arrived: known when its file was last modified",
    )
    time_zone: ZoneName = Field(
        "UTC", description="zone of times that name none, where a mapping does not say it; public formats know theirs"
    )
    max_clock_skew_seconds: Annotated[int, Field(ge=0, le=10**9)] = Field(
        60,
        description="where a record says when its device sent it (sent_at), a clock further than this from the server's "
        "(known_at) is taken for wrong, and occurred_at is corrected by the difference",
    )
    max_lateness_days: Annotated[int, Field(ge=0, le=36_500)] | None = Field(
        None, description="an event learned more than so many days after it happened is set aside; None: no limit"
    )


class BotSettings(Section):
    """Who is taken for a machine: by customer and day. A rule without a limit is not applied."""

    leave_out: bool = Field(True, description="build visits, features and interactions without flagged customers' days")
    max_per_minute: Annotated[int, Field(ge=1)] | None = Field(
        60, description="views, clicks, searches and carts in one minute of the clock that a person may make"
    )
    max_per_day: Annotated[int, Field(ge=1)] | None = Field(2000, description="the same in a day")
    carts_without_view: Annotated[int, Field(ge=1)] | None = Field(
        20, description="so many carts on a day without a view are a machine's, where the source has views that day"
    )
    user_agents: str | None = Field(
        r"(?i)(?<!cu)bot|crawl|spider|slurp|headless|phantomjs|python-requests|scrapy|^(curl|wget)/",
        description="regular expression over attributes.user_agent; Cubot makes telephones",
    )

    @field_validator("user_agents")
    @classmethod
    def _is_an_expression(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression ({error})") from None
        return pattern


class StreamSettings(Section):
    """The way in as a stream: of files at ingest.path, or of a Kafka topic when one is named."""

    until: Literal["caught_up", "stopped"] = Field(
        "caught_up", description="caught_up: take in what is there and end (`--once`); stopped: go on (`--continuous`)"
    )
    step_seconds: Annotated[int, Field(ge=1)] = Field(60, description="from one look for news to the next")
    max_files: Annotated[int, Field(ge=1)] = Field(1000, description="files in a step")
    max_records: Annotated[int, Field(ge=1)] = Field(2_000_000, description="Kafka messages in a step")
    servers: str = Field("", description="Kafka's bootstrap servers, host:port")
    topic: str = Field("", description="Kafka's topic; empty: files")
    options: dict[str, str] = Field(
        default_factory=dict, description="further options of Spark's Kafka source, such as kafka.security.protocol"
    )
    checkpoint: str | None = Field(None, description="None: below lakehouse.path, one per place that is read")


class PrivacySettings(Section):
    """How customers are named below bronze, and what bronze keeps of them. Exactly one key is named."""

    key_file: str | None = Field(
        None,
        description="file with the key of the pseudonyms, after a change of key with a line for each, oldest first; "
        "conf/demo.key is public",
    )
    key_secret: str | None = Field(None, description="the same in a Databricks secret: scope/name")
    key_env: str | None = Field(None, description="the same in the environment variable of this name")
    keep_raw_ids: bool = Field(
        False,
        description="keep raw records in bronze as they came; otherwise encrypted under the key of the pseudonyms",
    )

    @model_validator(mode="after")
    def _names_one_key(self) -> "PrivacySettings":
        named = [name for name in ("key_file", "key_secret", "key_env") if getattr(self, name)]
        if len(named) > 1:
            raise ValueError(
                f"{' and '.join(named)} are set: expected exactly one; set the others to null "
                f"(--set privacy.{named[0]}=null)"
            )
        return self


class IdentitySettings(Section):
    """Whose a visitor id is. A change holds for what is learned from then on."""

    max_logins_per_visitor: Annotated[int, Field(ge=1)] = Field(
        2, description="a visitor id with more logins is a shared device, which says nothing of whose it is"
    )
    max_ids_per_person: Annotated[int, Field(ge=2)] = Field(
        500, description="a larger group of linked ids is no person: it is not stitched; cookies last a week for some"
    )


class SessionizeSettings(Section):
    """How events become visits."""

    max_gap_minutes: Annotated[int, Field(ge=1)] = 30


class FeatureSettings(Section):
    """Windows, and the days in the past that models train on."""

    panel_every_days: Annotated[int, Field(ge=1)] = 28
    panel_size: Annotated[int, Field(ge=1)] = Field(7, description="how many as_of dates, the asked one included")
    as_of_alone: bool = Field(
        False, description="write the run's own as_of and no days to train on, as a backfill does"
    )
    kind_strengths: dict[str, float] = Field(
        default_factory=lambda: {"view": 1.0, "click": 1.0, "cart": 3.0, "purchase": 5.0},
        description="what one event of a kind says about taste",
    )
    sequence_kinds: tuple[str, ...] = ("view", "cart", "purchase")
    sequence_length: Annotated[int, Field(ge=2)] = Field(256, description="last items kept per customer")


class PanelSettings(Section):
    """The training panel of `clm panel`: past mornings, and what came after each."""

    first_on: date | None = Field(None, description="the first as_of; None: the run's own")
    last_on: date | None = Field(None, description="none after it; None: the run's own")
    every_days: Annotated[int, Field(ge=1)] = 7
    gap_days: Annotated[int, Field(ge=0)] = Field(0, description="days from as_of on that labels leave out")
    horizon_days: Annotated[int, Field(ge=1)] = Field(56, description="days after the gap that labels look at")


class DriftSettings(Section):
    """When a feature is said to have drifted."""

    against_days: Annotated[int, Field(ge=1)] = Field(
        28, description="so many days before as_of lies the day compared with"
    )
    sample_rows: Annotated[int, Field(ge=100)] = Field(
        20_000, description="about so many rows of either day are looked at"
    )
    max_psi: Annotated[float, Field(gt=0)] = Field(
        0.25, description="population stability index above which a feature has drifted"
    )


class SegmentSettings(Section):
    """K-Means."""

    k_from: Annotated[int, Field(ge=2)] = 3
    k_to: Annotated[int, Field(ge=2)] = 8
    seed: int = 7


class ChurnSettings(Section):
    """What churn means in this shop."""

    horizon_days: Annotated[int, Field(ge=1)] = Field(56, description="churned: no purchase in so many days from as_of")
    active_days: Annotated[int, Field(ge=1)] = Field(
        84, description="asked of customers who bought in so many days before"
    )
    max_iterations: Annotated[int, Field(ge=1)] = 60
    max_depth: Annotated[int, Field(ge=1)] = 2
    step_size: float = 0.05
    subsample: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="share of the rows that each tree sees")
    feature_share: Annotated[float, Field(gt=0, le=1)] = Field(0.3, description="share of the features per split")
    min_leaf_customers: Annotated[int, Field(ge=1)] = 100
    seed: int = 7


class AlsSettings(Section):
    """Implicit-feedback ALS (Hu, Koren, Volinsky 2008)."""

    rank: Annotated[int, Field(ge=1)] = 128
    iterations: Annotated[int, Field(ge=1)] = 4
    alpha: float = Field(0.2, description="confidence gained per unit of strength: a purchase is 5 by default")
    regularization: float = 0.1
    blocks: Annotated[int, Field(ge=1)] = Field(4, description="tasks per side; about the number of cores, or more")
    seed: int = 7


class TransformerSettings(Section):
    """The next-item decoder and its training."""

    launcher: Literal["horovod", "torch_distributor", "one_process"] = "horovod"
    ranks: Annotated[int, Field(ge=1)] = 2
    layers: Annotated[int, Field(ge=1)] = 1
    heads: Annotated[int, Field(ge=1)] = 2
    width: Annotated[int, Field(ge=8)] = 64
    max_length: Annotated[int, Field(ge=2)] = Field(256, description="last items of a customer that are looked at")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    horizon: Annotated[int, Field(ge=1)] = Field(100, description="next items that a prediction is asked for")
    steps: Annotated[int, Field(ge=1)] = Field(48, description="predictions asked of a customer per epoch")
    negatives: Annotated[int, Field(ge=1)] = Field(256, description="items drawn against each batch")
    batch_size: Annotated[int, Field(ge=1)] = Field(8, description="customers per rank and step")
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    epochs: Annotated[int, Field(ge=1)] = 3
    finetune_epochs: Annotated[int, Field(ge=1)] = Field(
        1, description="passes over the days held out, after evaluation"
    )
    seed: int = 7

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "TransformerSettings":
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, which are {self.heads}")
        return self


class RecommendSettings(Section):
    """The daily lists."""

    top_k: Annotated[int, Field(ge=1)] = 20
    test_days: Annotated[int, Field(ge=1)] = Field(28, description="days before as_of held out to compare recommenders")
    min_item_events: Annotated[int, Field(ge=1)] = Field(5, description="rarer items get no index")
    max_items: Annotated[int, Field(ge=10)] = Field(
        200_000, description="bound on the vocabulary, first come; raise min_item_events when it is reached"
    )
    hide_seen: bool = Field(
        False, description="leave out what a customer already took to: wrong where people buy again"
    )


class TrackingSettings(Section):
    """MLflow."""

    uri: str | None = Field(None, description="None: a SQLite store under lakehouse.path")
    experiment: str = "clm-spark"


class ReportSettings(Section):
    """The HTML page."""

    path: str | None = Field(None, description="None: report.html under lakehouse.path")


class Settings(Section):
    """Everything a job may ask."""

    shop: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = Field(
        "shop", description="whose data this lakehouse holds; a lakehouse holds one shop"
    )
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
    segments: SegmentSettings = SegmentSettings()
    churn: ChurnSettings = ChurnSettings()
    als: AlsSettings = AlsSettings()
    transformer: TransformerSettings = TransformerSettings()
    recommend: RecommendSettings = RecommendSettings()
    tracking: TrackingSettings = TrackingSettings()
    report: ReportSettings = ReportSettings()

    @property
    def digest(self) -> str:
        """Names these settings, all of them: sha-256, hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> "Settings":
        if self.segments.k_from > self.segments.k_to:
            raise ValueError("segments.k_from must not be above segments.k_to")
        return self


def load_settings(
    profile: str, *, as_of: date | str, overrides: Sequence[str] = (), conf_dir: str | None = None
) -> Settings:
    """Read `base.yml` and `<profile>.yml`, then apply `section.key=value` overrides.

    Raises `SettingsError` naming every unknown or unusable key at once.
    """
    folder = _conf_folder(conf_dir)
    values = _merged(_read_yaml(folder / "base.yml"), _profile(folder, profile))
    for override in overrides:
        values = _merged(values, _override(override))
    return settings_from({**values, "as_of": as_of})


def _profile(folder: Path, name: str) -> dict[str, Any]:
    file = folder / f"{name}.yml"
    if not file.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yml") if file.stem != "base"))
        raise SettingsError(f"profile {name!r} is unknown: {folder} has {known}; add {file.name} or name one of these")
    values = _read_yaml(file)
    extended = values.pop("extends", None)
    return values if extended is None else _merged(_profile(folder, extended), values)


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Check plain values into `Settings`."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("settings: " + "; ".join(map(_problem, error.errors()))) from None


def _problem(error: Any) -> str:
    key = ".".join(map(str, error["loc"])) or "(whole)"
    if error["type"] == "extra_forbidden":
        return f"{key} is unknown: remove it, or look for its right name in clm_spark/config.py"
    return f"{key}: {error['msg']}, got {error['input']!r}"


def _conf_folder(conf_dir: str | None) -> Path:
    asked = conf_dir or os.environ.get("CLM_CONF_DIR")
    if asked:
        folder = Path(asked)
        if not folder.is_dir():
            raise SettingsError(
                f"no settings folder at {folder}: expected one with base.yml; give --conf-dir or CLM_CONF_DIR"
            )
        return folder
    return Path("conf") if Path("conf/base.yml").is_file() else PACKAGED_CONF


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError:
        raise SettingsError(
            f"no settings file at {file}: expected YAML; restore it or give another --conf-dir"
        ) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{file} must hold `section: {{key: value}}`, got a {type(values).__name__}")
    return values


def _override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SettingsError(f"--set takes section.key=value, got {text!r}")
    try:
        values: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        values = value
    for part in reversed(key.strip().split(".")):
        values = {part: values}
    return values  # type: ignore[no-any-return]


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
