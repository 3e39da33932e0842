"""A real HDFS on this machine, for trying lakehouses on it: one name node, two data nodes, loopback alone.

python infra/hdfs/hdfs.py FOLDER    stays until it is stopped; blocks and the log go to FOLDER
"""

import os
import subprocess
import sys
from pathlib import Path

import pyspark

sys.path.insert(0, str(Path(__file__).parents[1]))
from jars import fetch_jars

MINICLUSTER = ("org.apache.hadoop:hadoop-client-minicluster:3.4.2", "org.mockito:mockito-core:4.11.0")
HEAP = "-Xmx512m"


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start it; gives the process, which ends when its standard input is closed, and the URL of its root."""
    folder.mkdir(parents=True, exist_ok=True)
    jars = [*fetch_jars(*MINICLUSTER), f"{Path(pyspark.__file__).parent}/jars/*"]
    java = f"{os.environ['JAVA_HOME']}/bin/java" if "JAVA_HOME" in os.environ else "java"
    # Java compiles the one file itself.
    command = [java, HEAP, "-cp", ":".join(jars), str(Path(__file__).with_name("Hdfs.java")), str(folder / "blocks")]
    with (folder / "hdfs.log").open("ab") as log:
        cluster = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    assert cluster.stdout is not None
    for line in cluster.stdout:
        if line.startswith("ready "):
            return cluster, line.split()[1].rstrip("/")
    raise SystemExit(f"HDFS did not start: see {folder / 'hdfs.log'}")


def main() -> int:
    """Run it until it is stopped."""
    folder = Path(sys.argv[1]).absolute()
    cluster, url = start(folder)
    print(f"HDFS at {url}; its log: {folder / 'hdfs.log'}", flush=True)
    try:
        return cluster.wait()
    except KeyboardInterrupt:
        cluster.terminate()
        return cluster.wait()


if __name__ == "__main__":
    sys.exit(main())
