import os
import sys
from pathlib import Path

import pytest
from conftest import lake_settings

from clm_spark import session, startup

sys.path.insert(0, str(Path(__file__).parents[1] / "infra"))
import startup as making

DELTA = session.DELTA_PACKAGE
DELTA_JAR = "{}_{}-{}.jar".format(*DELTA.split(":"))


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """What set-up keeps, with Delta's jar in it."""
    folder = tmp_path / "kept"
    monkeypatch.setattr(startup, "KEPT", folder)
    (folder / "jars").mkdir(parents=True)
    (folder / "jars" / DELTA_JAR).touch()
    return folder


def test_jars_count_in_the_version_that_is_wanted(kept):
    assert startup.has_jars(DELTA)
    assert not startup.has_jars(f"{DELTA}0")


@pytest.mark.parametrize(("before", "expected"), [(None, "{0}/jars/*"), ("/hadoop/*", "/hadoop/*:{0}/jars/*")])
def test_jars_come_behind_what_is_on_the_class_path(kept, monkeypatch, before, expected):
    monkeypatch.delenv("SPARK_DIST_CLASSPATH", raising=False)
    if before:
        monkeypatch.setenv("SPARK_DIST_CLASSPATH", before)
    startup.extend_class_path()
    assert os.environ["SPARK_DIST_CLASSPATH"] == expected.format(kept)


def test_an_archive_is_named_where_there_is_one(kept):
    assert list(startup.java_options()) == []
    startup.class_archive().touch()
    assert next(startup.java_options()) == f'-XX:SharedArchiveFile="{kept}/classes.jsa"'


@pytest.mark.parametrize(
    ("section", "stream", "launches_jvm", "expected"),
    [
        ({"master": "local[2]"}, {}, True, None),
        ({"master": "local[2]"}, {"topic": "events"}, True, session.KAFKA_PACKAGE),
        ({"master": "local[2]"}, {}, False, DELTA),  # the class path of a JVM that runs cannot grow
        ({"master": "spark://host:7077"}, {}, True, DELTA),  # executors lack this machine's folders
        ({"master": None}, {}, True, DELTA),
        ({"master": "local[2]", "delta_jars": "provided"}, {}, True, None),
    ],
)
def test_what_is_kept_is_not_fetched(tmp_path, kept, section, stream, launches_jvm, expected):
    settings = lake_settings(tmp_path, spark=section, stream=stream)
    assert session._spark_conf(settings, launches_jvm=launches_jvm).get("spark.jars.packages") == expected


def test_without_set_up_all_is_fetched(tmp_path, kept):
    (kept / "jars" / DELTA_JAR).unlink()
    conf = session._spark_conf(lake_settings(tmp_path, stream={"topic": "events"}), launches_jvm=True)
    assert conf["spark.jars.packages"] == f"{DELTA},{session.KAFKA_PACKAGE}"


def test_an_archive_is_for_sessions_of_this_machine(tmp_path, kept):
    startup.class_archive().touch()
    local, cluster = ({"master": master, "local_metastore": True} for master in ("local[2]", "spark://host:7077"))
    options = [
        session._spark_conf(lake_settings(tmp_path, spark=spark), launches_jvm=True)["spark.driver.extraJavaOptions"]
        for spark in (local, cluster)
    ]
    assert ["SharedArchiveFile" in each for each in options] == [True, False]
    assert all("-Dderby.stream.error.file=" in each for each in options)


def test_jars_that_spark_brings_are_not_kept(tmp_path, monkeypatch):
    jars = [DELTA_JAR, "org.slf4j_slf4j-api-2.0.13.jar", "com.github.luben_zstd-jni-1.5.7-3.jar"]
    for name in jars:
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(making, "fetch_jars", lambda package: [str(tmp_path / name) for name in jars])
    folder = tmp_path / "kept/jars"
    folder.mkdir(parents=True)
    (folder / "io.delta_delta-spark_4.1_2.13-4.3.0.jar").touch()  # of an earlier release
    making.keep_jars(folder)
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [(DELTA_JAR, DELTA_JAR)]
