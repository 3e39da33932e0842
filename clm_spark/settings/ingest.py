"""How raw records become events."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from clm_spark.settings.section import MOST_DAYS, Section, ZoneName


class IngestSettings(Section):
    """Where raw records come from."""

    source: str = Field("", description="one of clm_spark.sources")
    path: str = Field("", description="file, folder or URL of the raw log")
    joins_other_sources: bool = Field(
        False, description="allow events of a second source in this lakehouse; otherwise that is refused as a mistake"
    )
    mapping: str | None = Field(None, description="the YAML mapping of source `mapping`")
    batch_bytes: Annotated[int, Field(ge=1)] = Field(
        1 << 30,
        description="size of a batch: files are ingested together up to this; parsed records are cached on local disk meanwhile",
    )
    max_rejected_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="a batch with a larger share of unusable records is refused: its mapping is probably wrong"
    )
    tolerated_rejects: Annotated[int, Field(ge=0)] = Field(
        20,
        description="up to this many rejected records do not stop a run though their share is above max_rejected_share: a "
        "step of a stream may be small",
    )
    max_tolerated_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="... but not where they are a larger share than this, of however few records"
    )
    max_correction_days: Annotated[int, Field(ge=0, le=MOST_DAYS)] = Field(
        30,
        description="for records with an id of their own (event_id): one that comes again at another time is the same event "
        "where the times differ by at most so many days",
    )
    guests: Literal["rejected", "kept"] = Field(
        "rejected",
        description="orders without a customer: rejected as missing_customer, or kept as events of no customer, which count "
        "for items and the shop, not for customers",
    )
    known_at: Literal["ingested", "occurred", "arrived"] = Field(
        "ingested",
        description="where a record does not say when it became known. ingested: the first load is a history, each event "
        "known the moment it happened; an event that a later run brings is known to that run's as_of and to no earlier "
        "one. occurred: all is history, and a late file changes what past days knew. arrived: when its file was last "
        "modified",
    )
    history_until: date | None = Field(
        None,
        description="runs up to this as_of load the history; written into the lakehouse once, by its first run. None: that "
        "run's own as_of",
    )
    time_zone: ZoneName = Field(
        "UTC",
        description="zone of times that name none, where a mapping has no time_zone; public formats know theirs. The days "
        "of the shop are those of shop.time_zone",
    )
    max_clock_skew_seconds: Annotated[int, Field(ge=0, le=10**9)] = Field(
        60,
        description="for records with the time of sending (sent_at): a device clock further than this from the server's "
        "(known_at) counts as wrong, and occurred_at is corrected by the difference",
    )
    max_lateness_days: Annotated[int, Field(ge=0, le=MOST_DAYS)] | None = Field(
        None, description="an event that became known more days than this after it happened is rejected; None: no limit"
    )


class StreamSettings(Section):
    """Streaming ingestion: of files at ingest.path, or of a Kafka topic when one is named."""

    until: Literal["caught_up", "stopped"] = Field(
        "caught_up",
        description="caught_up: ingest what is there and end (`--once`); stopped: run until stopped (`--continuous`)",
    )
    step_seconds: Annotated[int, Field(ge=1)] = Field(60, description="seconds between two polls for new data")
    max_files: Annotated[int, Field(ge=1)] = Field(1000, description="files in a step")
    max_records: Annotated[int, Field(ge=1)] = Field(2_000_000, description="Kafka messages in a step")
    servers: str = Field("", description="Kafka's bootstrap servers, host:port")
    topic: str = Field("", description="Kafka's topic; empty: files")
    options: dict[str, str] = Field(
        default_factory=dict, description="further options of Spark's Kafka source, such as kafka.security.protocol"
    )
    checkpoint: str | None = Field(None, description="None: under lakehouse.path, one per path or topic")
