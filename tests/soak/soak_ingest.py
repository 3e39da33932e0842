"""Kill ingestion again and again on a real two-worker cluster, and compare with a run that nobody disturbed.

`python tests/soak/soak_ingest.py` draws a log, ingests it once undisturbed, then under SIGKILL at random moments: to the
driver, after which it is run again, and to a worker, which comes back. Not one row may differ.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from clm_spark.demo.shop import write_shop
from clm_spark.models.catalogue import load_settings
from clm_spark.session import build_session
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, INGESTED_FILES, RAW_EVENTS, REJECTED_EVENTS

ROOT = Path(__file__).parents[2]
TABLES = (RAW_EVENTS, EVENTS, REJECTED_EVENTS, INGESTED_FILES, INGESTED_BATCHES)
AS_OF = "2024-03-31"


def overrides(lake: Path, log: str, master: str) -> list[str]:
    return [
        f"lakehouse.path={lake}",
        f"ingest.path={log}",
        f"spark.master={master}",
        "ingest.batch_bytes=201326592",  # some batches, so that a kill falls before, into and between them
        "spark.driver_memory=2g",
        # Processes that live for minutes: the second compiler would not earn its keep.
        "spark.conf={spark.executor.memory: 1500m, spark.sql.shuffle.partitions: '4', spark.ui.enabled: 'false', "
        "spark.executor.extraJavaOptions: '-XX:TieredStopAtLevel=1'}",
    ]


def start(lake: Path, log: str, master: str, output: Path) -> subprocess.Popen[bytes]:
    sets = [word for text in overrides(lake, log, master) for word in ("--set", text)]
    clm = [sys.executable, "-c", "from clm_spark.cli import main; main()"]
    command = [*clm, "run", "ingest_events", "--profile", "demo", "--as-of", AS_OF]
    with output.open("ab") as file:
        return subprocess.Popen([*command, *sets], cwd=ROOT, stdout=file, stderr=file, start_new_session=True)


def kill_driver(job: subprocess.Popen[bytes]) -> None:
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()


def kill_worker(cluster: Path, number: int) -> None:
    """The worker and the executors below it die at once; it is started again after a moment."""
    group = int((cluster / f"worker{number}.pid").read_text())
    os.killpg(group, signal.SIGKILL)
    time.sleep(3)
    environment = {**os.environ, "ONLY_WORKER": str(number), "PYTHON": sys.executable}
    subprocess.run([str(ROOT / "infra/cluster/start.sh"), str(cluster)], env=environment, check=True)


def fingerprints(spark: SparkSession, lake: Path) -> dict[str, str]:
    """Number of rows and sum of their hashes, of every table that ingestion writes."""
    found = {}
    for table in TABLES:
        rows = spark.read.format("delta").load(str(lake / "tables" / f"{table.layer}.db" / table.name))
        # A batch that is written again has another version of the table, and the same rows.
        columns = [(name, kind) for name, kind in rows.dtypes if name != "events_version"]
        cells = [F.to_json(name) if kind.startswith("map") else F.col(name) for name, kind in columns]
        summed = rows.agg(F.count("*"), F.sum(F.xxhash64(*cells).cast("decimal(38,0)"))).head()
        assert summed is not None
        found[table.title] = f"{summed[0]} rows, hash {summed[1]}"
    return found


def undisturbed(lake: Path, log: str, master: str, output: Path) -> float:
    begun = time.monotonic()
    if start(lake, log, master, output).wait():
        raise SystemExit(f"the undisturbed run failed: {output.read_text()[-2000:]}")
    return time.monotonic() - begun


def under_fire(
    lake: Path, log: str, master: str, output: Path, *, cluster: Path, kills: int, longest: float, drawn: random.Random
) -> Counter[str]:
    """Run until the job comes to its end, killing it at random moments on the way; gives who was killed how often."""
    killed: Counter[str] = Counter()
    while True:
        job = start(lake, log, master, output)
        if sum(killed.values()) < kills:
            try:
                job.wait(timeout=drawn.uniform(0.1, 1.0) * longest)
            except subprocess.TimeoutExpired:
                victim = drawn.choice(["driver", "driver", "worker"])
                killed[victim] += 1
                if victim == "driver":
                    kill_driver(job)
                    continue
                kill_worker(cluster, drawn.choice([1, 2]))
        if job.wait() == 0:
            return killed


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--customers", type=int, default=19_400, help="19,400 over 90 days are two million records")
    ask.add_argument("--kills", type=int, default=30)
    ask.add_argument("--seed", type=int, default=7)
    asked = ask.parse_args()
    drawn = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        cluster, log = folder / "cluster", str(folder / "shop" / "log")
        settings = load_settings(
            "demo", as_of=AS_OF, overrides=[f"lakehouse.path={folder / 'own'}"], conf_dir=str(ROOT / "conf")
        )
        spark = build_session(settings, app_name="soak_ingest")
        shop = write_shop(
            spark,
            customers=asked.customers,
            days=90,
            start_on=settings.as_of.replace(month=1, day=1),
            seed=7,
            out=str(folder / "shop"),
        )
        started = subprocess.run(
            [str(ROOT / "infra/cluster/start.sh"), str(cluster)],
            env={**os.environ, "PYTHON": sys.executable},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        master = started.stdout.strip()
        try:
            seconds = undisturbed(folder / "calm", log, master, folder / "calm.log")
            print(f"{shop.num_records:,} records; undisturbed {seconds:.0f} s on {master}", flush=True)
            calm, killed, rounds = fingerprints(spark, folder / "calm"), Counter[str](), 0
            while killed.total() < asked.kills:
                rounds += 1
                lake = folder / f"fire{rounds}"
                killed += under_fire(
                    lake,
                    log,
                    master,
                    folder / "fire.log",
                    cluster=cluster,
                    kills=asked.kills - killed.total(),
                    longest=seconds,
                    drawn=drawn,
                )
                fire = fingerprints(spark, lake)
                differing = {title: (calm[title], fire[title]) for title in calm if calm[title] != fire[title]}
                if differing:
                    raise SystemExit(f"round {rounds} after {dict(killed)}: {differing}")
                print(f"round {rounds}: the same rows, killed so far {dict(killed)}", flush=True)
        finally:
            subprocess.run([str(ROOT / "infra/cluster/stop.sh"), str(cluster)], check=False)
            spark.stop()
    for title, fingerprint in calm.items():
        print(f"  {title}: {fingerprint}")


if __name__ == "__main__":
    main()
