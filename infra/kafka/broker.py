"""A real Kafka broker on this machine, for trying streams: one node in KRaft mode, from Maven Central's jars alone.

python infra/kafka/broker.py FOLDER [--port 9092]    stays until it is stopped; data and logs go to FOLDER
"""

import argparse
import os
import subprocess
import sys
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

import pyspark

sys.path.insert(0, str(Path(__file__).parents[1]))
from jars import fetch_jars

BROKER = "org.apache.kafka:kafka_2.13:4.1.0"
HEAP = "-Xmx512m"


def jars() -> list[str]:
    """The broker's jars, and the library that Spark's resolver leaves out because Spark brings it."""
    return [*fetch_jars(BROKER), *map(str, Path(pyspark.__file__).parent.glob("jars/scala-library-*.jar"))]


def properties(folder: Path, port: int) -> str:
    """Settings of a broker that is its own controller and keeps one copy of everything."""
    return "\n".join(
        [
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.voters=1@127.0.0.1:{port + 1}",
            f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1}",
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            f"log.dirs={folder / 'data'}",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "num.partitions=2",
            "",
        ]
    )


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Format the folder unless it holds a broker's data, and start the broker in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "server.properties"
    settings.write_text(properties(folder, port))
    java = [
        f"{os.environ['JAVA_HOME']}/bin/java" if "JAVA_HOME" in os.environ else "java",
        HEAP,
        "-cp",
        ":".join(jars()),
    ]
    if not (folder / "data" / "meta.properties").exists():
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # In one word: an id may begin with a hyphen.
        command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(settings)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    log = (folder / "broker.log").open("ab")
    return subprocess.Popen([*java, "kafka.Kafka", str(settings)], stdout=log, stderr=log, start_new_session=True)


def main() -> int:
    """Run the broker until it ends or is stopped."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("folder", type=Path)
    ask.add_argument("--port", type=int, default=9092)
    asked = ask.parse_args()
    broker = start(asked.folder.absolute(), asked.port)
    print(f"Kafka at 127.0.0.1:{asked.port}; its log: {asked.folder / 'broker.log'}", flush=True)
    try:
        return broker.wait()
    except KeyboardInterrupt:
        broker.terminate()
        return broker.wait()


if __name__ == "__main__":
    sys.exit(main())
