"""The only place that builds a SparkSession."""

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext, StorageLevel
from pyspark.errors import PySparkException
from pyspark.logger import PySparkLogger
from pyspark.sql import DataFrame, SparkSession

from clm_spark.errors import SettingsError
from clm_spark.files import as_url, is_here, local_path, size_here
from clm_spark.machine import memory_bytes, num_cores
from clm_spark.settings import Settings
from clm_spark.startup import extend_class_path, has_jars, java_option, java_options

DELTA_PACKAGE = "io.delta:delta-spark_4.1_2.13:4.4.0"
KAFKA_PACKAGE = "org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.1"  # 4.1.4's names a dependency that is nowhere
MIN_JAVA = 17
GIGABYTE = 1 << 30
# Spark makes Java of each plan and compiles it. Over few rows that takes longer than to interpret the plan (docs/tried.md).
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
# The rest is for Python's workers, the ranks of a training and the page cache.
DRIVERS_SHARE_OF_MEMORY = 0.4
MOST_DRIVER_MEMORY = 31 * GIGABYTE  # from 32 GB on, a JVM's pointers are twice as long
CLUSTER_SHUFFLE_PARTITIONS = 200
WAREHOUSE = "spark.sql.warehouse.dir"
SESSION_ZONE = "spark.sql.session.timeZone"
# Of a native BLAS, which Spark calls from each of its tasks: with its own threads on top MLlib's ALS takes three to six times as long.
BLAS_THREADS = "OPENBLAS_NUM_THREADS"
MOST_JOBS_AT_ONCE = 4  # they share one driver's memory
FEW_BYTES = 48 << 20  # a log of some 250,000 records, or the tables of a shop that has them


def build_session(settings: Settings, *, app_name: str) -> SparkSession:
    """Build, or take over, the session that the settings describe; days are those of UTC, but inside `in_zone`.

    Raises `SettingsError` when Java is missing or another process holds the local metastore.
    """
    launches_jvm = SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ
    if is_local(settings):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers with the packages of this process
        os.environ.setdefault(BLAS_THREADS, "1")
    if _uses_kept_jars(settings, launches_jvm=launches_jvm):
        extend_class_path()
    builder = SparkSession.builder.appName(app_name)
    for key, value in _spark_conf(settings, launches_jvm=launches_jvm).items():
        builder = builder.config(key, value)
    log = _log_file(settings) if launches_jvm and is_local(settings) else None
    with _jvm_messages_to(log):
        try:
            spark = _started(builder, log)
            spark.sql("SHOW SCHEMAS")  # opens the metastore: a lock shows here, not in a job
        except (Py4JJavaError, PySparkException, RuntimeError) as error:
            if launches_jvm:
                _check_java()  # only now: it takes the start of a JVM
            raise _explained(error, settings, log) from error
    if launches_jvm:
        spark.sparkContext.setLogLevel("ERROR")
    _let_the_jvm_go(spark.sparkContext)
    # Repeats the exception on the console, as JSON.
    PySparkLogger.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    return spark


def _let_the_jvm_go(context: SparkContext) -> None:
    """Let Python's end of Spark's accumulators be silent where the JVM is gone, as a signal to both leaves it."""
    server = getattr(context, "_accumulatorServer", None)  # a platform may have none
    if server is None:
        return
    loud = server.handle_error

    def handle_error(*request: Any) -> None:
        if not isinstance(sys.exc_info()[1], EOFError):
            loud(*request)

    server.handle_error = handle_error


def another_session(spark: SparkSession, settings: Settings) -> SparkSession:
    """A session beside `spark`, on the same context and with the same settings: for jobs that run at the same time."""
    session = spark.newSession()
    for key, value in (_session_conf() | settings.spark.conf).items():
        if spark.conf.isModifiable(key):
            session.conf.set(key, value)
    return session


def usual_jobs_at_once(spark: SparkSession, settings: Settings) -> int:
    """How many jobs run side by side unless somebody says so: one per core where each has few rows, and mostly waits."""
    if is_local(settings) and _has_few_records(settings):
        return min(num_cores(), spark.sparkContext.defaultParallelism, MOST_JOBS_AT_ONCE)
    return 1


def is_local(settings: Settings) -> bool:
    """Whether Spark runs inside this process's machine alone."""
    return (settings.spark.master or "").startswith("local")


@contextmanager
def in_zone(spark: SparkSession, zone: str) -> Iterator[None]:
    """Let days and hours be those of the zone in every frame that is made inside the block, wherever it is computed."""
    before = spark.conf.get(SESSION_ZONE)
    spark.conf.set(SESSION_ZONE, zone)
    try:
        yield
    finally:
        spark.conf.set(SESSION_ZONE, str(before))


def spread_over_cores(rows: DataFrame, *by: str) -> DataFrame:
    """Rows that cost much each: as many tasks as `num_tasks`, where one small file or shuffle would be a single task.

    `by` are columns that hold something else in nearly every row. Without them Spark deals the rows out in turn, and
    sorts them first, so that a task that is tried again deals alike.
    """
    return rows.repartition(num_tasks(rows.sparkSession), *by)


def num_tasks(spark: SparkSession) -> int:
    """Tasks for rows that cost much each: one per core, and on a cluster no fewer than a shuffle's partitions.

    A cluster may have few executors when a plan is made, and more when tasks wait for them.
    """
    cores, asked = spark.sparkContext.defaultParallelism, str(spark.conf.get("spark.sql.shuffle.partitions"))
    if (spark.sparkContext.master or "").startswith("local[") or not asked.isdigit():  # Databricks may say auto
        return cores
    return max(cores, int(asked))


@contextmanager
def persisted(rows: DataFrame) -> Iterator[DataFrame]:
    """Cache rows for the block: they are computed once, however often they are read there."""
    rows.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield rows
    finally:
        rows.unpersist()


def _log_file(settings: Settings) -> Path | None:
    return local_path(settings.lakehouse.path) / "logs" / "spark.log" if is_here(settings.lakehouse.path) else None


def _spark_conf(settings: Settings, *, launches_jvm: bool) -> dict[str, str]:
    conf = _session_conf()
    if "DATABRICKS_RUNTIME_VERSION" not in os.environ:  # there the session, and Delta in it, are the platform's own
        conf |= _context_conf(settings, launches_jvm=launches_jvm)
    return conf | settings.spark.conf


def _session_conf() -> dict[str, str]:
    """Settings of every session, whoever started Spark."""
    return {
        SESSION_ZONE: "UTC",
        # Rows written after a schema check must not be cast by guess.
        "spark.sql.storeAssignmentPolicy": "STRICT",
        # Up to so many partitions are written side by side, without sorting all rows by partition first.
        "spark.sql.maxConcurrentOutputFileWriters": "8",
        # HotSpot never compiles a method above 8,000 bytes: Spark's default of 65,535 lets wide projections be interpreted.
        "spark.sql.codegen.hugeMethodLimit": "8000",
        "spark.sql.icu.caseMappings.enabled": "false",  # lower() only meets the names of event kinds
        # An object of a raw log that names a member twice is no reason to stop.
        "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
        # What is cached is read a few times and dropped: packing it costs more than it saves.
        "spark.sql.inMemoryColumnarStorage.compressed": "false",
        # A daily run filters on a handful of days: above ten, Spark would push down only the first and the last.
        "spark.sql.parquet.pushdown.inFilterThreshold": "400",
        # Shops write in more encodings than the seven that Spark's decode knows by itself; what is no letter is shown as none.
        "spark.sql.legacy.javaCharsets": "true",
        "spark.sql.legacy.codingErrorAction": "true",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # Spark has no time in nanoseconds and refuses such files: sources/parquet.py makes times of the numbers.
        "spark.sql.legacy.parquet.nanosAsLong": "true",
    }


def _context_conf(settings: Settings, *, launches_jvm: bool) -> dict[str, str]:
    """Settings that only the process that starts Spark can make."""
    spark = settings.spark
    conf = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.shuffle.partitions": str(spark.shuffle_partitions or _shuffle_partitions(spark.master)),
        "spark.hadoop.hive.metastore.disallow.incompatible.col.type.changes": "false",
        "spark.ui.showConsoleProgress": "false",
        f"spark.executorEnv.{BLAS_THREADS}": "1",
        # A second list of a table's files beside its log, made with each commit, which this Delta never reads.
        "spark.databricks.delta.allFilesInCrc.enabled": "false",
        # Looks up the line of Python behind every expression, for errors: as long as building plans of wide rows itself.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
    }
    if spark.master:
        conf["spark.master"] = spark.master
    packages = _packages(settings)
    if _uses_kept_jars(settings, launches_jvm=launches_jvm):
        packages.remove(DELTA_PACKAGE)
    if packages and spark.delta_jars == "fetch":
        conf["spark.jars.packages"] = ",".join(packages)
    if launches_jvm:
        conf["spark.driver.memory"] = spark.driver_memory or _driver_memory()
    options = list(java_options()) if launches_jvm and is_local(settings) else []
    if is_local(settings) and _has_few_records(settings):
        conf |= INTERPRETED
    if spark.local_metastore:
        conf |= _local_metastore(settings)
        options.append(
            java_option("-Dderby.stream.error.file", local_path(settings.lakehouse.path) / "logs" / "derby.log")
        )
        options.append("--add-modules=jdk.incubator.vector")
    elif launches_jvm or not _is_submitted_with(WAREHOUSE):
        conf[WAREHOUSE] = f"{as_url(settings.lakehouse.path)}/tables"
    if options:
        conf["spark.driver.extraJavaOptions"] = " ".join(options)
    return conf


def _is_submitted_with(key: str) -> bool:
    """Whether the JVM, which runs already, was started with this setting, as by `spark-submit --conf`."""
    SparkContext._ensure_initialized()
    return SparkConf().contains(key)


def _uses_kept_jars(settings: Settings, *, launches_jvm: bool) -> bool:
    """Whether Delta comes from the jars that set-up keeps on this machine."""
    return launches_jvm and is_local(settings) and settings.spark.delta_jars == "fetch" and has_jars(DELTA_PACKAGE)


def _has_few_records(settings: Settings) -> bool:
    """Whether the log and the tables lie on this machine and are small; of a stream's topic nobody knows."""
    tables, log = settings.lakehouse.path, settings.ingest.path or settings.lakehouse.path
    if settings.stream.topic or not (is_here(tables) and is_here(log)):
        return False
    return max(size_here(tables, most=FEW_BYTES), size_here(log, most=FEW_BYTES, is_unpacked=True)) < FEW_BYTES


def _driver_memory() -> str:
    share = min(max(int(memory_bytes() * DRIVERS_SHARE_OF_MEMORY), GIGABYTE), MOST_DRIVER_MEMORY)
    return f"{share >> 20}m"


def _shuffle_partitions(master: str | None) -> int:
    local = re.fullmatch(r"local(?:\[(\d+|\*)(?:,\d+)?\])?", master or "")
    if local is None:
        return CLUSTER_SHUFFLE_PARTITIONS
    return 2 * (num_cores() if local[1] == "*" else int(local[1] or 1))


def _packages(settings: Settings) -> list[str]:
    return [DELTA_PACKAGE, KAFKA_PACKAGE] if settings.stream.topic else [DELTA_PACKAGE]


def _local_metastore(settings: Settings) -> dict[str, str]:
    if not is_here(settings.lakehouse.path):
        raise SettingsError(
            f"spark.local_metastore keeps tables' names in a folder of this machine, and {settings.lakehouse.path} is none: "
            "set it to false, and name a metastore in spark.conf (infra/README.md)"
        )
    home = local_path(settings.lakehouse.path)
    home.mkdir(parents=True, exist_ok=True)
    return {
        "spark.sql.catalogImplementation": "hive",
        WAREHOUSE: str(home / "tables"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={home / 'metastore'};create=true",
    }


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    advice = f"install Java {MIN_JAVA} (Debian, Ubuntu: apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    if java is None:
        raise SettingsError(f"Spark needs Java {MIN_JAVA} or later and none was found: {advice}")
    output = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', output)
    if version is None or int(version[1]) < MIN_JAVA:
        came = version[1] if version else output.strip() or "nothing"
        raise SettingsError(f"Spark needs Java {MIN_JAVA} or later and {java} is {came}: {advice}")


def _started(builder: SparkSession.Builder, log: Path | None) -> SparkSession:
    """A session; where a jar could not be fetched, at the second attempt: those that came stay cached."""
    try:
        return builder.getOrCreate()
    except (PySparkException, RuntimeError):
        if not _lacks_jars(log):
            raise
        return builder.getOrCreate()


@contextmanager
def _jvm_messages_to(log: Path | None) -> Iterator[None]:
    """Let a JVM launched inside the block write its standard error to a file: the console stays readable."""
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    saved = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _explained(error: Exception, settings: Settings, log: Path | None) -> SettingsError:
    text = " ".join(_causes(error))
    home = settings.lakehouse.path
    if "Another instance of Derby" in text or "XSDB6" in text:
        return SettingsError(
            f"another process holds the lakehouse at {home}: its local metastore lets in one at a time; "
            "wait for it to end, or use a shared metastore (infra/README.md)"
        )
    if "unresolved dependency" in text or "not found: [" in text or "download failed: [" in text or _lacks_jars(log):
        return SettingsError(
            f"Spark could not fetch {','.join(_packages(settings))} from Maven Central: check the network, "
            "or put the jars on the class path and set spark.delta_jars=provided"
        )
    if "DeltaCatalog" in text or "DeltaSparkSessionExtension" in text:
        return SettingsError(
            "Delta's jars are not on Spark's class path: under spark-submit give --packages "
            f"{DELTA_PACKAGE} (or SPARK_CONF_DIR=conf, which says so), put them into the image, "
            "or start by `clm run` with spark.delta_jars=fetch"
        )
    where = f"; the whole story is in {log}" if log else ""
    return SettingsError(f"Spark did not start: {str(error).splitlines()[0]}{where}")


def _causes(error: Exception) -> Iterator[str]:
    yield str(error)
    cause = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while cause is not None:
        yield str(cause.toString())
        cause = cause.getCause()


def _lacks_jars(log: Path | None) -> bool:
    """Whether the JVM's last words are that a package could not be fetched."""
    output = log.read_text(errors="replace")[-20_000:] if log else ""
    return "UNRESOLVED DEPENDENCIES" in output or "FAILED DOWNLOADS" in output
