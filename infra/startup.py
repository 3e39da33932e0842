"""Keep in .venv what clm_spark/startup.py looks for: Delta's jars, and an archive of the classes of a first day's work.

infra/setup.sh runs it. The archive is what a JVM has loaded by the end of a small shop's ingestion; another JVM of the same
build, with the same jars, maps it instead of reading, checking and linking those classes one by one.
"""

import os
import re
import shutil
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pyspark
from jars import fetch_jars
from pyspark import SparkContext
from pyspark.sql import SparkSession

from clm_spark.demo.shop import write_shop
from clm_spark.job import run_job
from clm_spark.models.catalogue import load_settings
from clm_spark.pipeline import find_jobs
from clm_spark.session import DELTA_PACKAGE, build_session
from clm_spark.startup import class_archive, jars_folder, java_option
from clm_spark.tables.catalog import EVENTS
from clm_spark.tables.lake import Lake

FIRST_DAY = date(2024, 1, 1)
DAYS, CUSTOMERS = 30, 5


def keep_jars(folder: Path) -> None:
    """Delta's jars with what they depend on, less what Spark brings in whatever version."""
    sparks = {artifact(jar.name) for jar in (Path(pyspark.__file__).parent / "jars").glob("*.jar")}
    unfinished = folder.with_name("jars.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for jar in map(Path, fetch_jars(DELTA_PACKAGE)):
        if artifact(jar.name.split("_", 1)[1]) not in sparks:  # the resolver puts the group before
            shutil.copy2(jar, unfinished / jar.name)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def artifact(file_name: str) -> str:
    """`jackson-core` of jackson-core-2.21.2.jar."""
    return re.sub(r"-\d[\w.-]*\.jar$", "", file_name)


def archive_classes(archive: Path) -> None:
    """Let a JVM do the work and write its classes down when it ends."""
    archive.unlink(missing_ok=True)
    unfinished = archive.with_name("classes.unfinished")
    os.environ["SPARK_SUBMIT_OPTS"] = java_option("-XX:ArchiveClassesAtExit", unfinished)
    with TemporaryDirectory() as folder:
        sets = [f"lakehouse.path={folder}/lakehouse", f"ingest.path={folder}/shop/log"]
        settings = load_settings("demo", as_of=date(2024, 1, 1 + DAYS), overrides=sets)
        spark = build_session(settings, app_name="startup")
        write_shop(spark, customers=CUSTOMERS, days=DAYS, start_on=FIRST_DAY, seed=7, out=f"{folder}/shop")
        (job,) = find_jobs("ingest_events")
        run_job(spark, job.name, job.load()[0], settings, reads_events=False)
        Lake(spark, settings).read(EVENTS).agg({"*": "count"}).collect()
        end_jvm(spark)
    unfinished.rename(archive)


def end_jvm(spark: SparkSession) -> None:
    """Wait for the JVM, which otherwise outlives this process by the time it takes to write the archive."""
    jvm = SparkContext._gateway.proc
    spark.stop()
    jvm.stdin.close()
    jvm.wait()


if __name__ == "__main__":
    keep_jars(jars_folder())
    archive_classes(class_archive())
