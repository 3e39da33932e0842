"""What this process may use of the machine it is on. A container's limits count, as they do for the JVM."""

import ctypes
import math
import os
from collections.abc import Iterator
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
# glibc's names for mallopt; in malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MOST_FROM_HEAP_BYTES = 32 << 20  # the most that glibc takes
KEPT_BYTES = 1 << 30


def num_cores() -> int:
    """Cores: as many task slots as Spark makes of `local[*]`."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *(quota for group in _groups() for quota in _cores_of(group))])


def memory_bytes() -> int:
    """Memory of the machine, or of the container that this process is in."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    names = ("memory.max", "memory.limit_in_bytes")  # of control groups in version 2 and version 1
    return min([installed, *(limit for group in _groups() for name in names for limit in _numbers(group / name))])


def give_memory_back() -> None:
    """Return what this process has freed to the system, where its C library is one that can: it would keep it for itself.

    A Python worker lives on between tasks, so what one task needed for a while is held beside all that come after.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def keep_freed_memory() -> None:
    """Let this process keep what its main thread frees, up to a gigabyte, and use it again, where its C library is glibc.

    For a process that is there for one computation alone: nothing takes it back. Else a loop that makes and frees the same large
    arrays in each step gets fresh pages each time, which the system has to fill with zeros. Arrays of more than 32 MB
    are given back as before. Nothing is done where the environment says how memory is to be kept.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    is_told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if mallopt is not None and not is_told:
        mallopt(M_MMAP_THRESHOLD, MOST_FROM_HEAP_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def _groups() -> Iterator[Path]:
    """The folders of this process's control groups and of those above them: every limit on the way up holds."""
    for line in OWN_GROUPS.read_text().splitlines() if OWN_GROUPS.is_file() else ():
        _, controllers, path = line.split(":", 2)
        top = CONTROL_GROUPS / controllers
        group = top / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _cores_of(group: Path) -> Iterator[int]:
    """The cores that a group's time is worth, where it is limited: microseconds in each period."""
    both = _numbers(group / "cpu.max") or [
        *_numbers(group / "cpu.cfs_quota_us"),
        *_numbers(group / "cpu.cfs_period_us"),
    ]
    if len(both) == 2 and both[0] > 0:
        yield math.ceil(both[0] / both[1])


def _numbers(file: Path) -> list[int]:
    """What a limit's file says; nothing where there is no such file, or it says `max`."""
    words = file.read_text().split() if file.is_file() else []
    return [int(word) for word in words] if "max" not in words else []
