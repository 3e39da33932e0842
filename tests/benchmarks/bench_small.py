"""Time what a new user waits for: whole processes of `clm` on a small log, next to Spark and Delta without `clm`.

`python tests/benchmarks/bench_small.py --repeat 5` runs each command in turn, so that a busy machine slows all alike.
`--against FOLDER` runs another checkout, with the .venv in it, side by side. Nothing depends on the seconds.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench_ingest import ROOT, Took, clm, measured

AS_OF = "2024-06-29"
RECORDS, CUSTOMERS, DAYS = 60, 1000, 180
BARE = "bare Delta session, a table and its count"
# Spark and Delta as their documentation starts them; what `clm` adds is the rest.
BARE_SESSION = """
import sys
from delta import configure_spark_with_delta_pip
from pyspark.sql import SparkSession
conf = {
    "spark.master": "local[*]",
    "spark.ui.enabled": "false",
    "spark.sql.warehouse.dir": sys.argv[1],
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
spark = configure_spark_with_delta_pip(SparkSession.builder.config(map=conf)).getOrCreate()
spark.range(60).write.format("delta").saveAsTable("numbers")
print(spark.table("numbers").count())
"""


def draw(place: Path) -> tuple[Path, Path]:
    """A log of a few records and that of a whole shop, of which the first is the beginning."""
    shop, few = place / "shop", place / "few"
    words = ["demo", "--customers", str(CUSTOMERS), "--days", str(DAYS), "--out", str(shop)]
    measured(clm(*words, "--set", f"lakehouse.path={place / 'own'}"), place / "draw.log")
    few.mkdir()
    with min((shop / "log").glob("*.csv")).open() as log:
        (few / "log.csv").write_text("".join(line for line, _ in zip(log, range(RECORDS + 1), strict=False)))
    return few, shop / "log"


def commands(few: Path, shop: Path, out: Path, *, with_all: bool) -> Iterator[tuple[str, list[str]]]:
    """What is timed, in an order in which the query finds the events."""
    ingested = ["--profile", "demo", "--set", f"lakehouse.path={out / 'few'}"]
    count = "SELECT count(*) FROM silver.events"
    yield BARE, [sys.executable, "-c", BARE_SESSION, str(out / "bare")]
    yield (
        f"clm run ingest_events, {RECORDS} records",
        clm("run", "ingest_events", "--as-of", AS_OF, "--set", f"ingest.path={few}", *ingested),
    )
    yield "clm sql, a count of them", clm("sql", count, *ingested)
    if with_all:
        words = ["run", "all", "--allow-missing", "--as-of", AS_OF, "--set", f"ingest.path={shop}", "--profile", "demo"]
        name = f"clm run all, {CUSTOMERS:,} customers"
        yield name, clm(*words, "--set", f"lakehouse.path={out / 'shop'}")
        one = ["--parallel", "1", "--set", f"lakehouse.path={out / 'one_at_a_time'}"]
        yield f"{name}, a job at a time", clm(*words, *one)


def in_turn(place: Path, checkouts: list[Path], asked: argparse.Namespace) -> dict[str, dict[Path, list[Took]]]:
    """Every command as often as asked, each time from each checkout."""
    few, shop = draw(place)
    took: dict[str, dict[Path, list[Took]]] = {}
    for turn in range(asked.repeat):
        for checkout in checkouts:
            out = place / "out"
            for name, command in commands(few, shop, out, with_all=turn < asked.repeat_all):
                python = str(checkout / ".venv/bin/python") if checkout != ROOT else sys.executable
                run = measured([python, *command[1:]], place / "said.log", root=checkout)
                took.setdefault(name, {}).setdefault(checkout, []).append(run)
                print(f"  {turn + 1} {checkout.name} {name}: {run.seconds:.1f} s", file=sys.stderr, flush=True)
            shutil.rmtree(out)
    return took


def show(took: dict[str, dict[Path, list[Took]]]) -> None:
    medians = {
        name: {at: statistics.median(run.seconds for run in runs) for at, runs in by.items()}
        for name, by in took.items()
    }
    print(f"\n{'':47}{'seconds':>9}{'from':>8}{'to':>8}{'CPU s':>8}{'to bare':>9}{'to here':>9}")
    for name, by_checkout in took.items():
        for checkout, runs in by_checkout.items():
            seconds, cpu = medians[name][checkout], statistics.median(run.cpu_seconds for run in runs)
            every = [run.seconds for run in runs]
            print(
                f"{name if checkout == ROOT else '  ' + checkout.name:47}{seconds:>9.1f}{min(every):>8.1f}{max(every):>8.1f}"
                f"{cpu:>8.0f}{seconds / medians[BARE][checkout]:>9.2f}{seconds / medians[name][ROOT]:>9.2f}"
            )


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--repeat", type=int, default=5, help="runs of each, in turn; the median counts")
    ask.add_argument("--repeat-all", type=int, default=1, help="in how many of these turns all jobs run")
    ask.add_argument("--against", type=Path, action="append", default=[], metavar="FOLDER", help="another checkout")
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        show(in_turn(Path(temporary), [ROOT, *(folder.absolute() for folder in asked.against)], asked))


if __name__ == "__main__":
    main()
