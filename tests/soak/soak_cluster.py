"""Pass every job of the day through spark-submit on a cluster whose machines have Java, Spark and a bare Python.

`python tests/soak/soak_cluster.py` starts a master and two workers without any of our packages, submits ingestion by its
job's file and then the whole day by `clm run all`, with dist/clm-env-train.tar.gz (`make pack`) as the archive, and
compares the rows of every table with those of a local run. `--each` submits every job by its own file.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pyspark
from soak_stores import Place, differences, rows

from clm_spark.pipeline import find_jobs
from clm_spark.session import DELTA_PACKAGE, build_session
from clm_spark.settings import settings_from
from clm_spark.tables.catalog import RUNS, TABLES

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT / "dist/clm-env-train.tar.gz"
START_ON, DAYS = date(2024, 1, 1), 180
AS_OF = str(START_ON + timedelta(days=DAYS))
RANK = "horovod.spark.task.gloo_exec_fn"
# The same plans, and so the same order of sums, here and there.
SPARK_CONF = (
    "spark.conf={spark.ui.enabled: 'false', spark.sql.adaptive.coalescePartitions.parallelismFirst: 'false', "
    "spark.databricks.delta.snapshotPartitions: '2'}"
)
DIFFER = ["events_version"]  # of a table: how often it was written


@dataclass
class Cluster:
    """The folder of a standalone cluster, the environment of its machines, and who ran Python on them."""

    folder: Path
    environment: dict[str, str]
    pythons: dict[int, str] = field(default_factory=dict)
    ranks: set[int] = field(default_factory=set)

    @property
    def work(self) -> Path:
        """Where executors run."""
        return self.folder / "cluster/work"

    def start(self) -> str:
        begun = [str(ROOT / "infra/cluster/start.sh"), str(self.folder / "cluster")]
        return subprocess.run(begun, env=self.environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def stop(self) -> None:
        subprocess.run([str(ROOT / "infra/cluster/stop.sh"), str(self.folder / "cluster")], check=False)

    def look(self) -> None:
        """Note which Python processes run in the executors' folders."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                program = str((process / "exe").readlink())
                if "python" in Path(program).name and (process / "cwd").readlink().is_relative_to(self.work):
                    self.pythons[int(process.name)] = program
                    if RANK in (process / "cmdline").read_text():
                        self.ranks.add(int(process.name))
            except OSError:  # it has ended
                continue

    def clear(self) -> None:
        """Remove what the executors of the last job unpacked."""
        for application in self.work.glob("app-*"):
            shutil.rmtree(application, ignore_errors=True)


def bare_cluster(folder: Path) -> Cluster:
    """A cluster that has not started: its Python is shown to know nothing of ours."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "bare")], check=True)
    (folder / "spark").symlink_to(Path(pyspark.__file__).parent)  # Spark's jars and scripts, without our packages
    (folder / "home").mkdir()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "JAVA_HOME": str(Path(shutil.which("java") or "java").resolve().parents[1]),
        "SPARK_HOME": str(folder / "spark"),
        "SPARK_LOCAL_DIRS": str(folder / "scratch"),
        "PYTHON": str(folder / "bare/bin/python"),
        "PORT": str(free_port()),
    }
    for package in ("clm_spark", "pyspark", "numpy", "torch"):
        told = subprocess.run(
            [environment["PYTHON"], "-c", f"import {package}"], env=environment, cwd=folder, capture_output=True, text=True
        )  # fmt: skip
        if f"No module named '{package}'" not in told.stderr:
            raise SystemExit(f"the bare Python is not bare, it knows {package}: {told.stderr}")
    return Cluster(folder, environment)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def sets(folder: Path, lake: str) -> Iterator[str]:
    for text in (
        "shop=demo_shop",
        "ingest.source=mapping",
        "ingest.mapping=conf/sources/demo_shop.yml",
        "ingest.known_at=occurred",
        f"ingest.path={folder / 'shop/log'}",
        f"lakehouse.path={folder / lake}",
        "privacy.key_file=conf/demo.key",
        "privacy.keep_raw_ids=true",
        "spark.local_metastore=true",
        "spark.shuffle_partitions=4",
        "transformer.ranks=2",
        "transformer.epochs=1",
        SPARK_CONF,
    ):
        yield from ("--set", text)


def run_here(folder: Path, log: Path) -> None:
    clm = [sys.executable, "-c", "from clm_spark.cli import main; main()"]
    shop = [
        "demo",
        "--customers",
        "600",
        "--days",
        str(DAYS),
        "--start-on",
        str(START_ON),
        "--out",
        str(folder / "shop"),
    ]
    small = ["--set", "spark.master=local[2]", "--set", "spark.driver_memory=2g"]
    day = ["run", "all", "--profile", "local", "--as-of", AS_OF, *sets(folder, "here/lake")]
    for command in ([*shop, "--set", f"lakehouse.path={folder / 'drawn'}"], day):
        with log.open("ab") as said:
            if subprocess.run([*clm, *command, *small], cwd=ROOT, stdout=said, stderr=said).returncode:
                raise SystemExit(f"{command[0]} failed here: {log.read_text()[-3000:]}")


def submit(cluster: Cluster, master: str, program: list[str], log: Path) -> float:
    """Run a program from a folder that has nothing, by a driver in the unpacked archive; gives the seconds."""
    folder, begun = cluster.folder, time.monotonic()
    conf = {
        "spark.pyspark.python": "./env/bin/python",
        "spark.pyspark.driver.python": str(folder / "env/bin/python"),
        "spark.executor.memory": "1200m",
        "spark.jars.ivy": str(Path.home() / ".ivy2.5.2"),  # what was fetched before
    }
    command = [
        *(str(folder / "spark/bin/spark-submit"), "--master", master, "--driver-memory", "2g"),
        *("--packages", DELTA_PACKAGE, "--archives", f"{ARCHIVE}#env"),
        *(word for key, value in conf.items() for word in ("--conf", f"{key}={value}")),
        *program,
        *("--profile", "cluster", "--as-of", AS_OF, *sets(folder, "cluster_run/lake")),
    ]
    with log.open("ab") as said:
        running = subprocess.Popen(command, cwd=folder / "home", env=cluster.environment, stdout=said, stderr=said)
        while running.poll() is None:
            cluster.look()
            time.sleep(0.5)
    if running.returncode:
        raise SystemExit(f"{program} failed on the cluster: {log.read_text()[-5000:]}")
    cluster.clear()
    return time.monotonic() - begun


def programs(*, each: bool) -> Iterator[list[str]]:
    """What is submitted, in order."""
    jobs = [job.name for job in find_jobs("all")]
    yield from ([str(ROOT / f"jobs/{job}.py")] for job in (jobs if each else jobs[:1]))
    if not each:
        yield [str(ROOT / "clm_spark/__main__.py"), "run", "all"]


def compare(folder: Path) -> None:
    """Raise `SystemExit` unless all tables but gold.runs, which says how long it took, hold the same rows."""
    settings = settings_from(
        {
            "as_of": AS_OF,
            "lakehouse": {"path": str(folder / "look")},
            "spark": {"master": "local[2]", "driver_memory": "2g"},
        }
    )
    spark = build_session(settings, app_name="soak_cluster")
    places = Place("here", f"file://{folder}/here"), Place("cluster", f"file://{folder}/cluster_run")
    found = {}
    for table in TABLES:
        here, there = (rows(spark, place, table) for place in places)
        if table is RUNS or (here is None and there is None):
            continue
        if here is None or there is None:
            found[table.title] = "is in one of them only"
            continue
        # Where executors are processes of their own, sums are added up in another order.
        told = differences(*(each.drop(columns=DIFFER, errors="ignore") for each in (here, there)), rtol=1e-7)
        print(f"  {table.title}: {f'DIFFERS: {told}' if told else f'the same {len(here):,} rows'}", flush=True)
        found |= {table.title: told} if told else {}
    spark.stop()
    if found:
        raise SystemExit(f"{len(found)} tables differ: {', '.join(found)}")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--folder", help="work here, and leave it; unless given, in one that vanishes")
    ask.add_argument("--each", action="store_true", help="every job by its own file: a new archive for each executor")
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(asked.folder or name).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        cluster = bare_cluster(folder)
        (folder / "env").mkdir()
        subprocess.run(["tar", "-xzf", ARCHIVE, "-C", folder / "env"], check=True)
        run_here(folder, folder / "local.log")
        print(f"the day has run here; now on {(master := cluster.start())}", flush=True)
        try:
            for program in programs(each=asked.each):
                seconds = submit(cluster, master, program, folder / "cluster.log")
                print(f"  {Path(program[0]).stem} {' '.join(program[1:])}: {seconds:.0f} s", flush=True)
        finally:
            cluster.stop()
        foreign = {program for program in cluster.pythons.values() if not program.startswith(str(cluster.work))}
        print(f"{len(cluster.pythons)} Python processes on executors, {len(cluster.ranks)} of them ranks by Horovod")
        if foreign or len(cluster.ranks) < 2:
            raise SystemExit(f"executors ran Python from outside their archive: {foreign or 'no ranks at all'}")
        compare(folder)


if __name__ == "__main__":
    main()
