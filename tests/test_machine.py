import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clm_spark import machine

GIGABYTE = 1 << 30
INSTALLED = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
OWN_CORES = len(os.sched_getaffinity(0))
HEAP = """
import psutil
from clm_spark.machine import give_memory_back
held_now = lambda: psutil.Process().memory_info().rss
before, blocks = held_now(), [bytearray(1 << 16) for _ in range(3200)]
held, last = held_now(), blocks.pop()
blocks.clear()
freed = held_now()
give_memory_back()
print(before, held, freed, held_now())
"""


PAGES = """
import resource
from clm_spark.machine import keep_freed_memory
def fresh_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        arrays = [bytearray(8 << 20) for _ in range(10)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fresh_pages()
usual = fresh_pages()
keep_freed_memory()
fresh_pages()
print(usual, fresh_pages())
"""
LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("own", "limits", "cores", "memory"),
    [
        ("", {}, OWN_CORES, INSTALLED),
        ("0::/", {"cpu.max": "50000 100000", "memory.max": f"{GIGABYTE}"}, 1, GIGABYTE),
        ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, OWN_CORES, INSTALLED),
        (
            "0::/a/b",
            {"a/memory.max": f"{GIGABYTE}", "a/b/memory.max": "max", "a/cpu.max": "100000 100000"},
            1,
            GIGABYTE,
        ),
        (
            "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x",  # the host's names: in the container, its own limits are at the top
            {
                "memory/memory.limit_in_bytes": f"{GIGABYTE}",
                "cpu,cpuacct/cpu.cfs_quota_us": "90000",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            1,
            GIGABYTE,
        ),
        (
            "4:memory:/\n3:cpu:/",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
            },
            OWN_CORES,
            INSTALLED,
        ),
    ],
    ids=["no groups", "version 2", "version 2 unlimited", "a group above", "version 1", "version 1 unlimited"],
)
def test_a_containers_limits_count(tmp_path, monkeypatch, own, limits, cores, memory):
    write(tmp_path, {"own": own, **{f"groups/{name}": content for name, content in limits.items()}})
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "CONTROL_GROUPS", tmp_path / "groups")
    assert (machine.num_cores(), machine.memory_bytes()) == (cores, memory)


def test_cores_are_those_of_sparks_local(spark):
    runtime = spark._jvm.java.lang.Runtime.getRuntime()
    assert machine.num_cores() == runtime.availableProcessors()


def test_memory_that_was_freed_goes_back_to_the_system():
    """Of 64 kB each, so that they come from the heap, and with the last one kept, so that it does not shrink by itself."""
    measured = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, text=True, check=True).stdout
    before, held, freed, given_back = map(int, measured.split())
    assert held > before + 150_000_000
    assert given_back < before + 50_000_000 < freed


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
@pytest.mark.skipif(
    LARGE_PAGES.is_file() and "[always]" in LARGE_PAGES.read_text(), reason="pages are of 2 MB here: there are few"
)
def test_a_loop_uses_the_memory_that_it_freed_again():
    """It makes 80 MB in each of 50 rounds: 20,480 pages of 4 kB each time."""
    told = [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]
    environment = {name: value for name, value in os.environ.items() if name not in told}

    def pages(**more: str) -> tuple[int, int]:
        command = [sys.executable, "-c", PAGES]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**environment, **more})
        usual, kept = map(int, done.stdout.split())
        return usual, kept

    usual, kept = pages()
    assert kept < 20_480 < 500_000 < usual
    assert pages(MALLOC_ARENA_MAX="4")[1] > 500_000, "who tells the C library what to do is not overruled"
