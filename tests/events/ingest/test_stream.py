"""Streams of files and of a real Kafka broker leave what the batch job leaves, also when they are killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from small_shop import write_log

from clm_spark.events.ingest import batches as ingest
from clm_spark.job import run_job
from clm_spark.jobs import stream_events
from clm_spark.tables.catalog import COUNTS, EVENTS, INGESTED_BATCHES, INGESTED_FILES, RAW_EVENTS, RUNS
from clm_spark.tables.contract import Table

ROOT = Path(__file__).parents[3]


def counts(rows: DataFrame) -> list[tuple[int, ...]]:
    return sorted(tuple(row[name] for name in COUNTS) for row in rows.collect())


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_stream_of_files_goes_on_where_it_was_cut_off(new_lake, tmp_path, monkeypatch):
    landing = tmp_path / "landing"
    landing.mkdir()
    lake = new_lake(ingest={"source": "rees46", "path": str(landing)}, stream={"max_files": 1})

    def stream() -> None:
        run_job(lake.spark, "stream_events", stream_events.run, lake.settings, reads_events=False)

    stream()  # nothing there yet
    truth = write_log(landing / "monday.csv")
    monday = (truth.num_events + 2, truth.num_events, 1, 1)
    shutil.copy(landing / "monday.csv", landing / "tuesday.csv")
    (landing / "notes.txt").write_text("no log")

    def die(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as killed:
        killed.setattr(ingest, "complete_batch", die)
        with pytest.raises(RuntimeError, match="killed"):
            stream()
    stream()
    stream()  # nothing new
    tuesday = (truth.num_events + 2, 0, 1, truth.num_events + 1)
    assert counts(lake.read(INGESTED_BATCHES)) == sorted([monday, tuesday])
    assert lake.read(RAW_EVENTS).count() == 2 * (truth.num_events + 2)
    assert lake.read(EVENTS).select("event_id").distinct().count() == lake.read(EVENTS).count() == truth.num_events

    # Per run and per file, in the manifest.
    runs = lake.read(RUNS).where(f"job = 'stream_events' AND table_name = '{EVENTS.title}'")
    assert counts(runs.where("file IS NOT NULL")) == sorted([monday, tuesday])
    (whole,) = counts(runs.where("file IS NULL"))
    assert whole == tuple(map(sum, zip(monday, tuesday, strict=True)))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_idle_stream_ends_by_sigterm(spark, tmp_path):
    landing, lake = tmp_path / "landing", tmp_path / "lake"
    landing.mkdir()
    truth = write_log(landing / "monday.csv")
    settings = {"ingest.path": landing, "stream.step_seconds": 3600}
    stream = start(lake, settings, "--continuous")
    commits = lake / "checkpoints"
    while not list(commits.glob("*/commits/0")):  # the one step of this hour is done
        assert stream.poll() is None, (lake / "said.txt").read_text()
        time.sleep(0.5)
    time.sleep(2)
    stream.send_signal(signal.SIGTERM)
    assert stream.wait(timeout=60) == 128 + signal.SIGTERM, (lake / "said.txt").read_text()
    (run,) = stored(spark, lake, RUNS).where("table_name IS NULL").collect()
    assert (run.job, run.status, run.error) == ("stream_events", "done", None)
    assert stored(spark, lake, EVENTS).count() == truth.num_events


def is_open(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def broker(tmp_path) -> Iterator[str]:
    """A real broker; its host and port."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        second.bind(("127.0.0.1", port + 1))  # the controller's
    with (tmp_path / "broker.out").open("wb") as said:
        command = [sys.executable, str(ROOT / "infra/kafka/broker.py"), str(tmp_path / "kafka"), "--port", str(port)]
        running = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    while not is_open(port):  # the first time its jars are fetched
        assert running.poll() is None, (tmp_path / "broker.out").read_text()[-2000:]
        time.sleep(0.5)
    yield f"127.0.0.1:{port}"
    running.send_signal(signal.SIGINT)
    running.wait(timeout=60)


def send(spark: SparkSession, lines: list[str], *, servers: str) -> None:
    messages = spark.createDataFrame([(line,) for line in lines], "value string").repartition(2)
    messages.write.format("kafka").option("kafka.bootstrap.servers", servers).option("topic", "clicks").save()


def stored(spark: SparkSession, lake: Path, table: Table) -> DataFrame:
    return spark.read.format("delta").load(str(lake / "tables" / f"{table.layer}.db" / table.name))


def start(lake: Path, settings: dict[str, object], *flags: str) -> subprocess.Popen[bytes]:
    common = {
        "shop": "test_shop", "lakehouse.path": lake, "ingest.source": "rees46",
        "privacy.key_file": ROOT / "tests/test.key", "spark.driver_memory": "2g", "spark.shuffle_partitions": 2,
    }  # fmt: skip
    sets = [word for key, value in (common | settings).items() for word in ("--set", f"{key}={value}")]
    clm = [sys.executable, "-c", "from clm_spark.cli import main; main()", "stream", *flags]
    lake.mkdir(exist_ok=True)
    with (lake / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [*clm, "--as-of", "2024-03-01", *sets], cwd=ROOT, stdout=said, stderr=said, start_new_session=True
        )


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_stream_from_kafka_is_killed_and_loses_nothing(spark, broker, tmp_path):
    truth = write_log(tmp_path / "log.csv")
    lines = (tmp_path / "log.csv").read_text().splitlines()[1:]
    half, lake = len(lines) // 2, tmp_path / "lake"
    send(spark, lines[:half], servers=broker)

    topic = {"stream.topic": "clicks", "stream.servers": broker, "stream.max_records": 2000, "stream.step_seconds": 1}
    stream = start(lake, topic, "--continuous")
    log = lake / "tables" / "silver.db" / "events" / "_delta_log"
    while len(list(log.glob("*.json"))) < 2:  # made, and written to: not complete yet
        assert stream.poll() is None, (lake / "said.txt").read_text()
        time.sleep(0.2)
    os.killpg(stream.pid, signal.SIGKILL)
    stream.wait()

    send(spark, lines[half:], servers=broker)
    assert start(lake, topic, "--once").wait() == 0, (lake / "said.txt").read_text()

    def rows(table: Table) -> DataFrame:
        return stored(spark, lake, table)

    assert rows(RAW_EVENTS).select("file", "position").distinct().count() == rows(RAW_EVENTS).count() == len(lines)
    assert rows(EVENTS).select("event_id").distinct().count() == rows(EVENTS).count() == truth.num_events
    summed = [sum(column) for column in zip(*counts(rows(INGESTED_BATCHES)), strict=True)]
    assert summed == [len(lines), truth.num_events, 1, 1]
    assert counts(rows(INGESTED_FILES).groupBy().sum(*COUNTS).toDF(*COUNTS)) == [tuple(summed)]
    assert rows(INGESTED_BATCHES).count() == 2, "the step that was cut off keeps its name"
