"""Take the synthetic shop's log in by `clm run`, by DuckDB and by Polars, one after the other on the same files.

`python tests/benchmarks/bench_ingest.py --events 2e6 --formats csv` says how long each took, in how much memory, and
holds all of them to the same events: by number, by the ids, and by the lines that were rejected.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import psutil

ROOT = Path(__file__).parents[2]
# Of a lakehouse with few records Spark's plans are interpreted; a bench that keeps its rows elsewhere has an empty one.
COMPILED = "spark.conf={spark.sql.codegen.wholeStage: 'true', spark.sql.codegen.factoryMode: FALLBACK}"
RECORDS_A_CUSTOMER = 106.8  # in 90 days
AS_OF = "2024-03-31"
RIVALS = ("duckdb", "polars")
GIB = 2**30
TABLES = {"raw": "raw_events", "kept": "events", "rejected": "rejected_events"}
# Hashes of content and place, summed over all records: equal for equal rows in any order.
FINGERPRINTS = {
    "raw": "sum(CAST(hash(parse_filename(file), CAST(position AS BIGINT)) AS HUGEINT))",
    "kept": "sum(CAST(hash(event_id, customer_id, CAST(epoch_us(known_at) AS BIGINT)) AS HUGEINT))",
    "rejected": "sum(CAST(hash(parse_filename(file), CAST(position AS BIGINT), reason) AS HUGEINT))",
}


@dataclass
class Took:
    """What one process and its children cost, and what they wrote."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    found: dict[str, tuple[int, int]] = field(default_factory=dict)  # rows and fingerprint of each table


def measured(command: list[str], output: Path, *, path: Sequence[Path] = (), root: Path = ROOT) -> Took:
    """Run a command from a checkout to its end, with `path` on Python's.

    Raises `SystemExit` with the end of its output when it fails.
    """
    begun, peak = time.monotonic(), 0
    cpu: dict[int, float] = {}
    with output.open("wb") as file:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (root, *path)))}
        job = psutil.Popen(command, cwd=root, stdout=file, stderr=file, env=environment)
        while job.poll() is None:
            seen = list(_used(job))
            cpu |= {pid: seconds for pid, seconds, _ in seen}
            peak = max(peak, sum(size for _, _, size in seen))
            time.sleep(0.1)
    if job.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output.read_text(errors='replace')[-3000:]}")
    return Took(time.monotonic() - begun, sum(cpu.values()), peak)


def _used(job: psutil.Popen) -> Iterator[tuple[int, float, int]]:
    """Process, CPU seconds so far and resident bytes, of a job and all below it."""
    try:
        for process in [job, *job.children(recursive=True)]:
            try:
                if _is_forking(process):
                    continue
                yield process.pid, sum(process.cpu_times()[:2]), process.memory_info().rss
            except psutil.Error:
                continue
    except psutil.Error:
        return


def _is_forking(process: psutil.Process) -> bool:
    """Whether it is a JVM's copy of itself on its way to start a command: their memory is one and the same."""
    parent = process.parent()
    return process.name() == "java" and parent is not None and parent.cmdline() == process.cmdline()


def clm(*words: str) -> list[str]:
    return [sys.executable, "-c", "from clm_spark.cli import main; main()", *words]


def draw(place: Path, *, events: float, style: str) -> str:
    """The shop's log in a folder that is kept between runs, if it is not there yet."""
    shop = place / f"{events:.0f}-{style}"
    if not (shop / "parameters.json").exists():  # written last
        shutil.rmtree(shop, ignore_errors=True)
        customers = str(round(events / RECORDS_A_CUSTOMER))
        words = ["demo", "--customers", customers, "--days", "90", "--format", style, "--out", str(shop)]
        measured(clm(*words, "--set", f"lakehouse.path={place / 'own'}"), place / "draw.log")
    return str(shop / "log")


def mapping(place: Path, style: str) -> Path:
    """The shop's mapping for another format, under the same name: events carry it as their source."""
    file = place / style / "demo_shop.yml"
    file.parent.mkdir(exist_ok=True)
    text = (ROOT / "conf/sources/demo_shop.yml").read_text()
    lines = [line for line in text.splitlines() if style == "csv" or not line.startswith("header:")]
    file.write_text("\n".join(lines).replace("format: csv", f"format: {style}"))
    return file


def command_of(engine: str, log: str, style: str, out: Path, asked: argparse.Namespace) -> list[str]:
    if engine in RIVALS:
        script = str(ROOT / f"tests/benchmarks/ingest_{engine}.py")
        return [sys.executable, script, log, style, str(out), "--memory", asked.memory, "--cores", str(asked.cores)]
    sets = {
        "lakehouse.path": out,
        "ingest.path": log,
        "ingest.mapping": mapping(out.parent, style),
        "spark.master": f"local[{asked.cores}]",
        "spark.driver_memory": asked.memory.lower().removesuffix("b"),
    }
    words = [
        word for text in (*(f"{key}={value}" for key, value in sets.items()), *asked.set) for word in ("--set", text)
    ]
    return clm("run", "ingest_events", "--profile", "demo", "--as-of", AS_OF, *words)


def left_by(engine: str, out: Path) -> dict[str, tuple[int, int]]:
    """Rows and fingerprint of the tables, as they lie on disk."""
    found = {}
    with duckdb.connect() as db:
        for name, table in TABLES.items():
            layer = "silver" if name == "kept" else "bronze"
            files = f"{table}.parquet" if engine in RIVALS else f"tables/{layer}.db/{table}/*/*.parquet"
            row = db.execute(f"SELECT count(*), {FINGERPRINTS[name]} FROM read_parquet('{out / files}')").fetchone()
            assert row is not None
            found[name] = (int(row[0]), int(row[1]))
    return found


def race(log: str, style: str, place: Path, asked: argparse.Namespace) -> dict[str, list[Took]]:
    """Each engine in turn, as often as asked; raises `SystemExit` when two do not leave the same."""
    took: dict[str, list[Took]] = {engine: [] for engine in asked.engines}
    for _ in range(asked.repeat):
        for engine, runs in took.items():
            with tempfile.TemporaryDirectory(dir=place) as folder:
                out = Path(folder) / engine
                run = measured(command_of(engine, log, style, out, asked), place / f"{engine}.log")
                run.found = left_by(engine, out)
            runs.append(run)
            first = next(iter(took.values()))[0]
            if run.found != first.found:
                raise SystemExit(f"{engine} left {run.found}, {asked.engines[0]} left {first.found}")
    return took


def show(took: dict[str, list[Took]], style: str, cores: int) -> None:
    first = next(iter(took.values()))[0]
    num_records, num_kept, num_rejected = (first.found[name][0] for name in TABLES)
    print(
        f"\n{style}: {num_records:,} records = {num_kept:,} kept + {num_rejected:,} rejected + "
        f"{num_records - num_kept - num_rejected:,} repeated, the same ids and lines by all"
    )
    print(f"  {'':8}{'seconds':>9}{'CPU s':>9}{'records/s/core':>16}{'peak GiB':>10}{'to DuckDB':>11}")
    seconds = {engine: statistics.median(run.seconds for run in runs) for engine, runs in took.items()}
    for engine, runs in took.items():
        cpu = statistics.median(run.cpu_seconds for run in runs)
        peak = max(run.peak_bytes for run in runs) / GIB
        ratio = f"{seconds[engine] / seconds['duckdb']:.2f}" if "duckdb" in seconds else ""
        speed = num_records / seconds[engine] / cores
        print(f"  {engine:8}{seconds[engine]:>9.1f}{cpu:>9.0f}{speed:>16,.0f}{peak:>10.1f}{ratio:>11}", flush=True)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--events", type=float, nargs="+", default=[5e6, 10e6, 20e6])
    ask.add_argument("--formats", nargs="+", default=["csv", "jsonl", "parquet"])
    ask.add_argument("--engines", nargs="+", default=["clm", *RIVALS])
    ask.add_argument("--repeat", type=int, default=1, help="runs of each, in turn; the median counts")
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--memory", default="6GB", help="the JVM's heap, DuckDB's limit; Polars has none")
    ask.add_argument("--folder", help="keeps the logs that are drawn; default: a folder that goes with the run")
    ask.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting for clm")
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(asked.folder or temporary).absolute()
        place.mkdir(exist_ok=True)
        for events in asked.events:
            for style in asked.formats:
                log = draw(place, events=events, style=style)
                show(race(log, style, place, asked), style, asked.cores)


if __name__ == "__main__":
    main()
