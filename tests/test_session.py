import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import lake_settings
from pyspark import SparkContext

from clm_spark import session, startup
from clm_spark.errors import SettingsError

CONF = Path(__file__).parents[1] / "conf"


def test_spark_submit_fetches_the_same_delta():
    assert session.DELTA_PACKAGE in (CONF / "spark-defaults.conf").read_text()
    assert session.DELTA_PACKAGE.endswith(f":{version('delta-spark')}")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, "none was found: install Java 17"),
        ('openjdk version "11.0.2" 2019-01-15', "is 11: install Java 17"),
    ],
)
def test_an_old_or_missing_java_is_named(tmp_path, monkeypatch, said, expected):
    (tmp_path / "bin").mkdir()
    if said:
        java = tmp_path / "bin" / "java"
        java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
        java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=expected):
        session._check_java()


@pytest.mark.parametrize(
    ("master", "gigabytes", "expected"),
    [
        ("local[*]", 24, ("9830m", "12")),
        ("local[3]", 1.5, ("1024m", "6")),  # less would not start a job
        ("local", 512, ("31744m", "2")),
        ("local[2,4]", 10, ("4096m", "4")),
        ("spark://host:7077", 10, ("4096m", "200")),  # the driver alone is on this machine
        (None, 10, ("4096m", "200")),
    ],
)
def test_a_session_fits_the_machine(tmp_path, monkeypatch, master, gigabytes, expected):
    monkeypatch.setattr(session, "memory_bytes", lambda: int(gigabytes * session.GIGABYTE))
    monkeypatch.setattr(session, "num_cores", lambda: 6)
    settings = lake_settings(tmp_path, spark={"master": master, "local_metastore": True})
    conf = session._spark_conf(settings, launches_jvm=True)
    assert (conf["spark.driver.memory"], conf["spark.sql.shuffle.partitions"]) == expected
    assert "spark.driver.memory" not in session._spark_conf(settings, launches_jvm=False)


@pytest.mark.usefixtures("spark")
def test_a_native_blas_has_one_thread_a_task(tmp_path):
    """MLlib's ALS takes three to six times as long with OpenBLAS's own threads."""
    conf = session._spark_conf(lake_settings(tmp_path), launches_jvm=True)
    assert conf["spark.executorEnv.OPENBLAS_NUM_THREADS"] == "1"
    assert SparkContext._jvm.java.lang.System.getenv("OPENBLAS_NUM_THREADS") == "1"


def test_what_is_set_holds_on_any_machine(tmp_path):
    conf = session._spark_conf(lake_settings(tmp_path), launches_jvm=True)
    assert (conf["spark.driver.memory"], conf["spark.sql.shuffle.partitions"]) == ("3g", "2")


def test_plans_are_interpreted_and_jobs_run_side_by_side_where_there_are_few_records(tmp_path, monkeypatch):
    """(log's name, its bytes, of them of tables, more settings) and whether Spark compiles plans, one job at a time."""
    monkeypatch.setattr(session, "FEW_BYTES", 1000)
    cases = [
        ("a.csv", 900, 900, {}, False),
        ("a.csv", 1000, 900, {}, True),
        ("a.csv", 900, 1000, {}, True),
        ("a.csv.gz", 200, 900, {}, True),
        ("a.csv", 900, 900, {"stream": {"topic": "clicks"}}, True),
        ("a.csv", 900, 900, {"spark": {"master": "spark://host:7077"}}, True),
        ("a.csv", 900, 900, {"ingest": {"source": "complete_journey", "path": "s3a://shop/log"}}, True),
    ]

    def jobs_at_once(settings, *, cores, slots=2):
        monkeypatch.setattr(session, "num_cores", lambda: cores)
        spark = SimpleNamespace(sparkContext=SimpleNamespace(defaultParallelism=slots))
        return session.usual_jobs_at_once(spark, settings)

    came = []
    for number, (name, log_bytes, table_bytes, changes, _) in enumerate(cases):
        folder = tmp_path / str(number)
        for place, size in ((folder / "log" / name, log_bytes), (folder / "lake" / "tables" / "a", table_bytes)):
            place.parent.mkdir(parents=True)
            place.write_bytes(b"." * size)
        ingest = {"source": "complete_journey", "path": str(folder / "log")}
        settings = lake_settings(folder / "lake", **{"ingest": ingest, **changes})
        compiles = not session.INTERPRETED.items() <= session._context_conf(settings, launches_jvm=True).items()
        came.append((compiles, jobs_at_once(settings, cores=2)))
    assert came == [(compiled, 1 if compiled else 2) for *_, compiled in cases]
    small = lake_settings(tmp_path / "0" / "lake")
    assert [jobs_at_once(small, cores=cores, slots=slots) for cores, slots in ((16, 16), (2, 200), (8, 3))] == [4, 2, 3]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_lakehouse_may_lie_in_a_folder_of_any_name(tmp_path):
    folder = tmp_path / """my "lake", Ann's 100%"""
    code = (
        "import sys; from pathlib import Path; from conftest import lake_settings\n"
        "from clm_spark.session import build_session\n"
        "spark = build_session(lake_settings(Path(sys.argv[1])), app_name='a')\n"
        "spark.range(3).write.format('delta').saveAsTable('numbers')\n"
        "print(spark.table('numbers').count())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYSPARK_GATEWAY_PORT"}
    environment["PYTHONPATH"] = os.pathsep.join([str(CONF.parent), str(CONF.parent / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "3\n", done.stderr
    assert {file.name for file in folder.iterdir()} == {"logs", "metastore", "tables"}
    assert (folder / "logs" / "derby.log").is_file()


def test_a_local_metastore_wants_a_local_lakehouse(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = lake_settings(tmp_path, lakehouse={"path": "s3a://shop/lake"})
    with pytest.raises(SettingsError, match="s3a://shop/lake is none: set it to false, and name a metastore"):
        session._spark_conf(settings, launches_jvm=True)
    assert session._log_file(settings) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3a://shop/lake/", "s3a://shop/lake/tables"),
        ("/mount/lake", "file:///mount/lake/tables"),
        ("hdfs://a/b", "own"),
    ],
)
def test_tables_lie_under_the_lakehouse(tmp_path, path, expected):
    own = {session.WAREHOUSE: "own"} if expected == "own" else {}
    settings = lake_settings(tmp_path, lakehouse={"path": path}, spark={"local_metastore": False, "conf": own})
    assert session._spark_conf(settings, launches_jvm=True)[session.WAREHOUSE] == expected


@pytest.mark.usefixtures("spark")
def test_what_spark_submit_was_told_of_tables_holds(tmp_path):
    properties = SparkContext._jvm.java.lang.System
    settings = lake_settings(tmp_path, spark={"local_metastore": False})
    before = properties.clearProperty(session.WAREHOUSE)
    try:
        assert session._spark_conf(settings, launches_jvm=False)[session.WAREHOUSE] == f"file://{tmp_path}/tables"
        properties.setProperty(session.WAREHOUSE, "/told")
        assert session.WAREHOUSE not in session._spark_conf(settings, launches_jvm=False)
    finally:
        properties.setProperty(session.WAREHOUSE, before)


def test_a_jvm_that_is_gone_leaves_no_stack_trace(spark, capsys):
    server = spark.sparkContext._accumulatorServer
    for error in (EOFError(), ValueError("told")):
        try:
            raise error
        except Exception:
            server.handle_error(None, ("127.0.0.1", 1))
    said = capsys.readouterr().err
    assert "EOFError" not in said
    assert "ValueError: told" in said


def test_provided_jars_fetch_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "KEPT", tmp_path)  # nothing is kept there
    settings = lake_settings(tmp_path)
    provided = settings.model_copy(update={"spark": settings.spark.model_copy(update={"delta_jars": "provided"})})
    assert session._spark_conf(settings, launches_jvm=True)["spark.jars.packages"] == session.DELTA_PACKAGE
    assert "spark.jars.packages" not in session._spark_conf(provided, launches_jvm=True)


def test_a_platform_keeps_its_own_session(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "18.0")
    conf = session._spark_conf(lake_settings(tmp_path), launches_jvm=False)
    assert conf["spark.sql.session.timeZone"] == "UTC"
    assert not {"spark.master", "spark.sql.extensions", "spark.sql.catalog.spark_catalog"} & set(conf)


@pytest.mark.parametrize(("said", "num_attempts"), [(":: FAILED DOWNLOADS ::", 2), ("no space left on device", 1)])
def test_a_jar_that_did_not_come_is_fetched_once_more(tmp_path, said, num_attempts):
    log, attempts = tmp_path / "spark.log", []
    log.write_text(said)

    class Builder:
        def getOrCreate(self):  # noqa: N802
            attempts.append(len(attempts))
            raise RuntimeError("Java gateway process exited")

    with pytest.raises(RuntimeError) as raised:
        session._started(Builder(), log)
    assert len(attempts) == num_attempts
    explained = str(session._explained(raised.value, lake_settings(tmp_path), log))
    assert ("could not fetch io.delta" in explained) == (num_attempts == 2)
