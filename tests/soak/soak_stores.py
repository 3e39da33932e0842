"""Take a small shop through every job on a real HDFS and on S3A, and compare the rows with those of a local lakehouse.

`python tests/soak/soak_stores.py [hdfs] [s3]` draws a log, puts it and the lakehouse on the store, and runs two days of
all daily jobs, the transformer on two ranks, then a change of key and the lists under it. Rows may differ where a file's URL or a
duration is told; nowhere else.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark import files
from clm_spark.session import DELTA_PACKAGE, build_session
from clm_spark.settings import load_settings
from clm_spark.startup import java_option
from clm_spark.tables.catalog import TABLES
from clm_spark.tables.contract import Table

sys.path.extend(str(Path(__file__).resolve().parents[2] / "infra" / part) for part in ("", "hdfs", "s3"))
import hdfs
import s3

ROOT = Path(__file__).resolve().parents[2]
DAYS = ("2024-04-29", "2024-05-29")  # the first one's models are the second one's incumbents
LOG_DAYS = 150
S3_PORT = 9123
KEYS = ("the key of a shop that is nobody's\n", "the key that it goes on to, nobody's too\n")
# What a run took and by which settings is its own, and so is when a file was put there; a batch is named after its files.
DIFFERING = {"seconds", "settings_hash", "started_at", "ended_at", "batch_id", "modified_at", "arrived_at"}
SMALL = (
    "churn.horizon_days=28",
    "gbt.min_leaf_customers=10",
    "als.rank=8",
    "transformer.launcher=horovod",
    "transformer.ranks=2",
    "transformer.width=16",
    "transformer.max_length=64",
)
# Name of the run, jobs and days; the last two under the key that rotate_key went on to.
STEPS = (
    ("all", DAYS[0], "old"),
    ("all", DAYS[1], "old"),
    ("rotate_key", DAYS[1], "new"),
    ("recommend_items", DAYS[1], "new"),
)


@dataclass(frozen=True)
class Place:
    """A store: the URL that log and lakehouse lie under, and what Spark must be told to open it."""

    name: str
    url: str
    conf: Mapping[str, str] = field(default_factory=dict)
    tracking: str | None = None

    @property
    def lake(self) -> str:
        return f"{self.url}/lake"

    def overrides(self, folder: Path, key: str) -> list[str]:
        metastore = folder / f"metastore_{self.name}"
        conf = {
            "spark.sql.catalogImplementation": "hive",
            "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={metastore};create=true",
            "spark.driver.extraJavaOptions": java_option("-Dderby.stream.error.file", folder / "derby.log"),
            **self.conf,
        }
        tracking = [] if self.tracking is None else [f"tracking.uri={self.tracking}"]
        return [
            f"lakehouse.path={self.lake}",
            f"ingest.path={self.url}/log",
            f"ingest.mapping={ROOT}/conf/sources/demo_shop.yml",
            f"privacy.key_file={folder / key}.key",
            "spark.master=local[2]",
            "spark.driver_memory=3g",
            "spark.local_metastore=false",
            f"spark.conf={{{', '.join(f'{name}: {value!r}' for name, value in conf.items())}}}",
            *tracking,
            *SMALL,
        ]


def clm(arguments: list[str], overrides: list[str], log: Path) -> None:
    """Run `clm` as a process of its own, what it prints in a file."""
    command = [sys.executable, "-c", "from clm_spark.cli import main; main()", *arguments, "--profile", "demo"]
    sets = [word for text in overrides for word in ("--set", text)]
    # In a folder of its own: a path taken for a URL, or the reverse, would leave something there.
    place = log.with_suffix(".cwd")
    place.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CLM_CONF_DIR": str(ROOT / "conf"), "COLUMNS": "200"}
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        done = subprocess.run([*command, *sets], cwd=place, env=environment, stdout=file, stderr=file)
    said = log.read_bytes()[before:].decode(errors="replace")
    if done.returncode:
        raise SystemExit(f"clm {' '.join(arguments)} failed: {said[-4000:]}")
    if arguments[:2] == ["run", "all"] and "transformer: 2 ranks by horovod" not in said:
        raise SystemExit(f"the transformer was not trained on two ranks: {said[-4000:]}")
    left = [path.name for path in place.iterdir()]
    if left:
        raise SystemExit(f"clm {' '.join(arguments)} wrote {left} where it ran")


def live(place: Place, log: Path, folder: Path) -> None:
    """All steps on one store, the log on it."""
    files.upload(log, f"{place.url}/log")
    for job, day, key in STEPS:
        begun = time.monotonic()
        # A job at a time, as on stores: side by side now one and now the other writes the next version of a table.
        one_by_one = ["--parallel", "1"] if job == "all" else []
        clm(["run", job, "--as-of", day, *one_by_one], place.overrides(folder, key), folder / f"{place.name}.log")
        print(f"{place.name}: {job} as of {day}, {time.monotonic() - begun:.0f} s", flush=True)


def rows(spark: SparkSession, place: Place, table: Table) -> pd.DataFrame | None:
    """All rows of a table in the order of their text, URLs without their store."""
    location = f"{place.lake}/tables/{table.layer}.db/{table.name}"
    if not files.exists(f"{location}/_delta_log"):
        return None
    stored = spark.read.format("delta").load(location)
    names = [name for name in stored.columns if name not in DIFFERING]
    frame = stored.select(*(_comparable(stored, name, place.url).alias(name) for name in names)).toPandas()
    return frame.sort_values(_sorted_by(frame), ignore_index=True)


def _comparable(stored: DataFrame, name: str, url: str) -> F.Column:
    kind = stored.schema[name].dataType

    def without_store(text: F.Column) -> F.Column:
        # Hadoop writes this machine's files with one slash.
        for spelling in (url, url.replace("file:///", "file:/")):
            text = F.replace(text, F.lit(spelling), F.lit("STORE"))
        return text

    if isinstance(kind, T.StringType):
        return without_store(F.col(name))
    if isinstance(kind, T.MapType | T.ArrayType | T.StructType):
        entries = F.array_sort(F.map_entries(name)) if isinstance(kind, T.MapType) else F.col(name)
        return without_store(F.to_json(entries))
    if isinstance(kind, T.BinaryType):
        return F.hex(name)
    if isinstance(kind, T.DoubleType) and "metric" in stored.columns:
        # A skill is 1 less a ratio of errors, so it is near 0 where the ratio is near 1: the ratio has the nine digits.
        return F.when(F.col("metric").endswith("_skill"), 1 - F.col(name)).otherwise(F.col(name))
    return F.col(name)


def _sorted_by(frame: pd.DataFrame) -> list[str]:
    """Whole columns first: fractions may differ in their last digits."""
    return sorted(frame.columns, key=lambda name: (frame[name].dtype == np.float64, list(frame.columns).index(name)))


def differences(local: pd.DataFrame, there: pd.DataFrame, *, rtol: float = 1e-9) -> str:
    """Empty where the rows are the same, fractions to nine digits unless `rtol` says otherwise."""
    if len(local) != len(there):
        return f"{len(local)} rows against {len(there)}"
    try:
        pd.testing.assert_frame_equal(local, there, rtol=rtol, atol=1e-12)
    except AssertionError as error:
        return " ".join(str(error).split())
    return ""


def compare(spark: SparkSession, local: Place, there: Place) -> None:
    """Raise `SystemExit` naming every table whose rows differ."""
    found, num_tables, num_rows = {}, 0, 0
    for table in TABLES:
        ours, theirs = rows(spark, local, table), rows(spark, there, table)
        if (ours is None) != (theirs is None):
            found[table.title] = "is on one of them only"
        elif ours is not None and theirs is not None:
            num_tables, num_rows = num_tables + 1, num_rows + len(ours)
            found |= {table.title: told} if (told := differences(ours, theirs)) else {}
    if found:
        raise SystemExit(f"{there.name} differs: " + "\n  ".join(f"{title}: {told}" for title, told in found.items()))
    print(f"{there.name}: the same {num_rows:,} rows in {num_tables} tables", flush=True)


@contextmanager
def opened(names: list[str], folder: Path) -> Iterator[list[Place]]:
    """The stores asked for, running."""
    stores, places = [], []
    try:
        if "hdfs" in names:
            cluster, url = hdfs.start(folder / "hdfs")
            stores.append(cluster)
            places.append(Place("hdfs", f"{url}/shop"))
        if "s3" in names:
            stores.append(s3.start(folder / "s3", S3_PORT))
            conf = {"spark.jars.packages": f"{DELTA_PACKAGE},{s3.HADOOP_AWS}", **s3.spark_settings(S3_PORT)}
            # One store with its entries in files, one with an MLflow of its own.
            places.append(Place("s3", f"s3a://{s3.BUCKET}/shop", conf, tracking=f"sqlite:///{folder}/tracking.db"))
        yield places
    finally:
        for store in stores:
            store.terminate()
            store.wait()


def draw(folder: Path, customers: int) -> Path:
    """The raw log of a synthetic shop."""
    drawn = folder / "drawn"
    command = ["demo", "--customers", str(customers), "--days", str(LOG_DAYS), "--out", str(drawn)]
    clm(command, [f"lakehouse.path={folder}/none", "spark.driver_memory=1g"], folder / "demo.log")
    return drawn / "log"


def all_stores_open(places: list[Place], folder: Path) -> SparkSession:
    """A session that reads the local lakehouse and those of all places."""
    told = {key: value for place in places for key, value in place.conf.items()}
    conf = ", ".join(f"{key}: {value!r}" for key, value in told.items())
    sets = [f"lakehouse.path={folder}/own", "spark.master=local[2]", "spark.driver_memory=1g", f"spark.conf={{{conf}}}"]
    settings = load_settings("demo", as_of=DAYS[0], overrides=sets, conf_dir=str(ROOT / "conf"))
    return build_session(settings, app_name="soak_stores")


def soak(names: list[str], customers: int, folder: Path) -> None:
    """Run everything locally and on each store, then compare."""
    for name, keys in (("old", KEYS[:1]), ("new", KEYS)):
        (folder / f"{name}.key").write_text("".join(keys))
    log, local = draw(folder, customers), Place("local", f"file://{folder}/local")
    with opened(names, folder) as places:
        spark = all_stores_open(places, folder)
        try:
            failures = [attempted(live, local, log, folder)]
            failures += [
                attempted(live, place, log, folder) or attempted(compare, spark, local, place) for place in places
            ]
        finally:
            spark.stop()
    if any(failures):
        raise SystemExit("\n".join(filter(None, failures)))


def attempted(step: Callable[..., None], *arguments: object) -> str:
    """Why a step failed, for the other stores to go on; empty where it did not."""
    try:
        step(*arguments)
    except (Exception, SystemExit) as error:
        print(f"FAILED: {error}", flush=True)
        return str(error)
    return ""


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("stores", nargs="*", default=["hdfs", "s3"], help="hdfs, s3, or both")
    ask.add_argument("--customers", type=int, default=300)
    ask.add_argument("--folder", type=Path, help="where to work, left as it is afterwards; default: a temporary one")
    asked = ask.parse_args()
    if asked.folder is not None:
        asked.folder.mkdir(parents=True)
        soak(asked.stores, asked.customers, asked.folder.absolute())
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        soak(asked.stores, asked.customers, Path(name))


if __name__ == "__main__":
    main()
