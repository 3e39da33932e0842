"""What `make setup` keeps for sessions on its own machine, so that they start sooner: Delta's jars and an archive of classes.

A session needs neither. Without the jars Spark's resolver fetches them; without the archive, or with one that another JVM
or other jars made, the JVM loads its classes from the jars.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

KEPT = Path(sys.prefix) / "share" / "clm-spark"


def jars_folder() -> Path:
    """Where the jars lie, without those that Spark brings itself."""
    return KEPT / "jars"


def class_archive() -> Path:
    """The classes of a session's first minute, as the JVM lays them out in memory (AppCDS)."""
    return KEPT / "classes.jsa"


def has_jars(package: str) -> bool:
    """Whether the jars of this `group:artifact:version` are kept."""
    group, artifact, version = package.split(":")
    return (jars_folder() / f"{group}_{artifact}-{version}.jar").is_file()


def extend_class_path() -> None:
    """Put the jars behind Spark's own, for a JVM that this process launches."""
    # Classes of spark.jars cannot be archived, and what spark.driver.extraClassPath names comes before Spark's own.
    paths = (os.environ.get("SPARK_DIST_CLASSPATH"), f"{jars_folder()}/*")
    os.environ["SPARK_DIST_CLASSPATH"] = os.pathsep.join(filter(None, paths))


def java_options() -> Iterator[str]:
    """Options that let a JVM map the archive, where there is one."""
    archive = class_archive()
    if archive.is_file():
        yield java_option("-XX:SharedArchiveFile", archive)
        # Why an archive cannot be used is a warning, which the JVM would write to standard output.
        yield from ("-Xlog:disable", "-Xlog:all=warning:stderr")


def java_option(name: str, value: Path) -> str:
    """`name=value` as Spark's launcher cuts a line of Java options: a path may hold spaces and quotes."""
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'
