"""A local S3 server, for trying lakehouses on s3a: moto's, on loopback, its objects in memory.

python infra/s3/s3.py FOLDER [--port 9123]    stays until it is stopped; its log goes to FOLDER
"""

import argparse
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
BUCKET = "lakehouses"
SERVER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "clm-spark" / "moto"
HADOOP_AWS = "org.apache.hadoop:hadoop-aws:3.4.2"  # brings the AWS SDK: 640 MB

# Both Werkzeug and the handler below it say "100 Continue"; the AWS SDK takes the second for the answer.
SERVE = (
    "from moto.server import main; from werkzeug.serving import WSGIRequestHandler; "
    "WSGIRequestHandler.handle_expect_100 = lambda self: True; main()"
)


def spark_settings(port: int) -> dict[str, str]:
    """What Spark must be told to open `s3a://lakehouses`."""
    return {
        "spark.hadoop.fs.s3a.endpoint": f"http://127.0.0.1:{port}",
        "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.access.key": "any",
        "spark.hadoop.fs.s3a.secret.key": "thing",
    }


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server in a process group of its own, with an empty bucket."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "s3.log").open("ab") as log:
        command = [str(_python()), "-c", SERVE, "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    for _ in range(120):
        try:
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT"))
        except OSError:
            time.sleep(0.5)
        else:
            return server
    server.terminate()
    raise SystemExit(f"the S3 server did not start: see {folder / 's3.log'}")


def _python() -> Path:
    """An environment of its own: the project needs nothing of it."""
    python = SERVER / "bin" / "python"
    if not (SERVER / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(SERVER)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", str(HERE / "requirements.txt")], check=True)
        (SERVER / "complete").touch()
    return python


def main() -> int:
    """Run it until it is stopped."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("folder", type=Path)
    ask.add_argument("--port", type=int, default=9123)
    asked = ask.parse_args()
    server = start(asked.folder, asked.port)
    print(f"s3a://{BUCKET} at 127.0.0.1:{asked.port}; its log: {asked.folder / 's3.log'}", flush=True)
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        return server.wait()


if __name__ == "__main__":
    sys.exit(main())
