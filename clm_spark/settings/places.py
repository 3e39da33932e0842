"""Where tables, models and the report lie, and how Spark is started."""

from typing import Annotated, Literal

from pydantic import Field

from clm_spark.settings.section import Days, Section

# As a metastore of Hive takes it.
SchemaName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class LakehouseSettings(Section):
    """Where tables live. Names are `{catalog}.{schema}.{table}`."""

    path: str = Field(
        "lakehouse", description="folder of tables, models and the local metastore, seen by every machine"
    )
    catalog: Annotated[str, Field(min_length=1)] = "spark_catalog"
    bronze: SchemaName = "bronze"
    silver: SchemaName = "silver"
    gold: SchemaName = "gold"
    analysts: SchemaName = Field(
        "analysts", description="schema of the views for analysts: every table, no sensitive column"
    )


class SparkSettings(Section):
    """How the session is built when this process is the one that builds it."""

    master: str | None = Field(None, description="None: that of spark-submit or the platform")
    driver_memory: str | None = Field(
        None, description="None: two fifths of the memory of the machine that starts Spark, 1 to 31 GB"
    )
    shuffle_partitions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="None: two a task slot of a local master, 200 on a cluster"
    )
    delta_jars: Literal["fetch", "provided"] = Field(
        "fetch", description="provided: the image or platform has Delta's jars, nothing is fetched"
    )
    local_metastore: bool = Field(False, description="use a Derby metastore under lakehouse.path")
    conf: dict[str, str] = Field(default_factory=dict, description="further Spark settings")


class TrackingSettings(Section):
    """MLflow."""

    uri: str | None = Field(
        None, description="None: a SQLite store under lakehouse.path; where that is a URL, files in it and no MLflow"
    )
    registry_uri: str | None = Field(None, description="None: as uri; databricks-uc: Unity Catalog")
    experiment: str = "clm-spark"
    keep_versions: Annotated[int, Field(ge=1)] = Field(30, description="newest model versions of a task that stay")
    keep_days: Days = Field(90, description="champions of so many past days stay, however old they are")


class ReportSettings(Section):
    """The HTML page."""

    path: str | None = Field(None, description="None: report.html under lakehouse.path")
