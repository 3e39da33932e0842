"""The wheel is whole; the Databricks bundle follows the pipeline; set-up stops with one line when a machine lacks something."""

import ctypes
import importlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from clm_spark.keys import read_key
from clm_spark.models.catalogue import load_settings
from clm_spark.pipeline import JOBS, graph_of, nearest_only

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "infra"))
from bundle import with_tasks  # noqa: E402 - a script beside the package


def test_the_bundle_runs_the_pipelines_graph():
    bundle = yaml.safe_load((ROOT / "infra/databricks.yml").read_text())
    (resource,) = (ROOT / "infra").glob(bundle["include"][0])
    daily = yaml.safe_load(resource.read_text())["resources"]["jobs"]["daily"]
    tasks = {task["task_key"]: task for task in daily["tasks"]}
    assert list(tasks) == [job.name for job in JOBS]
    assert with_tasks(resource.read_text()) == resource.read_text(), "run `make bundle`"
    graph = nearest_only(graph_of(JOBS))
    for name, task in tasks.items():
        assert {each["task_key"] for each in task.get("depends_on", [])} == graph[name]
        wheel_task = task["python_wheel_task"]
        assert wheel_task["parameters"][:2] == ["run", name]
        assert (wheel_task["package_name"], wheel_task["entry_point"]) == ("clm_spark", "clm")
        assert [next(iter(each)) for each in task["libraries"]] == ["whl", "pypi", "pypi", "pypi", "pypi"]


@pytest.mark.parametrize("profile", ["cluster", "databricks"])
def test_a_profile_that_runs_elsewhere_names_no_master_and_fetches_nothing(profile):
    settings = load_settings(profile, as_of="2026-01-31", conf_dir=str(ROOT / "conf"))
    assert (settings.spark.master, settings.spark.delta_jars) == (None, "provided")


READ_FROM_THE_WHEEL = """
import json, clm_spark
from clm_spark.keys import pseudonym_key
from clm_spark.settings import load_settings
from clm_spark.sources.mapping import read_mapping
settings = load_settings("demo", as_of="2026-01-31")
mapping = read_mapping(settings.ingest.mapping)
print(json.dumps([clm_spark.__file__, settings.shop.name, *mapping.fields["kind"], pseudonym_key(settings).fingerprint]))
"""


def test_the_wheel_is_one_package_and_reads_its_settings_as_a_zip(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        (points,) = (packed.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"clm_spark"}
    assert {f"clm_spark/jobs/{file.name}" for file in (ROOT / "jobs").glob("*.py")} <= set(names)
    conf = {str(file.relative_to(ROOT)) for file in (ROOT / "conf").rglob("*") if file.is_file()}
    assert {f"clm_spark/{name}" for name in conf} <= set(names)
    assert points.split() == ["[console_scripts]", "clm", "=", "clm_spark.cli:main"]

    elsewhere = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(wheel)}, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", READ_FROM_THE_WHEEL], **elsewhere, check=False)
    assert not done.stderr
    file, shop, column, fingerprint = json.loads(done.stdout)
    assert file.startswith(str(wheel))
    assert (shop, column, fingerprint) == ("demo_shop", "kind", read_key(str(ROOT / "conf/demo.key")).fingerprint)


SYSTEM = ("bash", "dirname", "cat", "sed", "sha256sum", "cut", "flock", "readlink", "basename")
HAS_PYTHON = "exit 0"
JAVA_11 = """echo 'openjdk version "11.0.2" 2019-01-15' >&2"""
JAVA_21 = """echo 'openjdk version "21.0.5" 2024-10-15' >&2"""


@pytest.mark.parametrize(
    ("extra", "commands", "said"),
    [
        (
            "spark",
            {"python3.11": HAS_PYTHON, "java": JAVA_11},
            "setup: this machine lacks Java 17 or later. "
            "Debian, Ubuntu: sudo apt-get install openjdk-17-jre-headless. Then run this again",
        ),
        (
            "dev",
            {"python3.12": HAS_PYTHON, "java": JAVA_21},
            "setup: this machine lacks g++ (Horovod is compiled). "
            "Debian, Ubuntu: sudo apt-get install g++. Then run this again",
        ),
        (
            "spark",
            {"python3.11": "exit 127", "python3": "exit 1", "java": JAVA_21},
            "setup: this machine lacks Python 3.11 to 3.13 with venv. "
            "Debian, Ubuntu: sudo apt-get install python3 python3-venv. Then run this again",
        ),
        (
            "all",
            {},
            "setup: extra 'all' is unknown: give spark, train, bench or dev (make setup EXTRA=spark)",
        ),
    ],
    ids=["old Java", "no compiler", "a Python that is only a shim", "unknown extra"],
)
def test_setup_says_in_one_line_what_the_machine_lacks(tmp_path, extra, commands, said):
    checkout, path = tmp_path / "checkout", tmp_path / "bin"
    for folder in ("infra", "requirements"):
        shutil.copytree(ROOT / folder, checkout / folder)
    shutil.copy(ROOT / "pyproject.toml", checkout)
    path.mkdir()
    for name in SYSTEM:
        (path / name).symlink_to(str(shutil.which(name)))
    for name, does in {"id": "echo 1000", **commands}.items():
        (path / name).write_text(f"#!/bin/bash\n{does}\n")
        (path / name).chmod(0o755)

    done = subprocess.run(
        [checkout / "infra/setup.sh", extra],
        env={"PATH": str(path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (2, "", said + "\n")
    assert not (checkout / ".venv").exists()


def test_a_stand_in_answers_for_every_function_of_a_library(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "infra/pack"))
    cpu_torch = importlib.import_module("cpu_torch")
    library, copy = tmp_path / "libgpu.so.13", tmp_path / "copy/libgpu.so.13"
    copy.parent.mkdir()
    (tmp_path / "gpu.c").write_text("int start() { return 0; } int stop() { return 0; } int told = 7;")
    (tmp_path / "versions").write_text("GPU_13 { global: start; stop; told; };")
    script = f"-Wl,-soname,{library.name},--version-script={tmp_path / 'versions'}"
    subprocess.run(["gcc", "-shared", tmp_path / "gpu.c", "-o", library, script], check=True)

    cpu_torch.compile_stand_in(library, copy)

    assert cpu_torch.functions_of(copy) == cpu_torch.functions_of(library)
    assert [ctypes.CDLL(str(library)).start(), ctypes.CDLL(str(copy)).start(), ctypes.CDLL(str(copy)).stop()] == [
        0,
        1,
        1,
    ]
