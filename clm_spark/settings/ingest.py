"""How raw records become events."""

from typing import Annotated, Literal

from pydantic import Field

from clm_spark.settings.section import Section, ZoneName


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
