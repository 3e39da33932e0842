"""What recommenders read, for a synthetic shop: a full refresh and two daily runs, early and late.

`python tests/benchmarks/bench_items.py --events 2e6` draws the shop of `bench_features.py`, and measures whole processes:
`clm run build_item_features` and `clm run build_interactions` for day 30 and the two days after, for day 300 and the two days
after. It fails unless the rows of a daily run are those of a full refresh. Two more daily runs and a full refresh follow in one
process, as on a cluster that stays up: without the start of Spark and with code that is compiled. The recommenders' test starts
one day before as_of here, so that its day is there already, as it is in a shop that has run for four weeks. In a full refresh
it starts two days before: neither of the two mornings can be carried on from the other.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from bench_features import Bench, apart, bring_in, consecutive_runs, morning, show
from bench_ingest import ROOT, Took, clm, measured
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from clm_spark.models.catalogue import load_settings
from clm_spark.session import build_session
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

JOBS = ("build_item_features", "build_interactions")
MADE = (
    t.CUSTOMER_ITEM_DAYS,
    t.ITEM_DAYS,
    t.ITEM_FEATURES,
    t.PAIR_FEATURES,
    t.CUSTOMER_CATEGORIES,
    t.CUSTOMER_TASTES,
    t.ITEM_INDICES,
    t.ITEM_VOCABULARY,
    t.INTERACTIONS,
    t.ITEM_SEQUENCES,
)
NIGHTS_UP = 2  # the first compiles
IN_FULL = "recommend.test_days=2"
Digests = dict[str, tuple[int, int]]


def run_job(bench: Bench, job: str, day: int, *more: str) -> Took:
    words = [word for text in (*bench.sets, *more) for word in ("--set", text)]
    command = clm("run", job, "--profile", "demo", "--as-of", str(morning(day)), *words)
    return measured(command, bench.place / "clm.log")


def drop_made(bench: Bench) -> None:
    spark = build_session(bench.settings(), app_name="bench_items")
    try:
        forget(spark)
    finally:
        spark.stop()


def forget(spark: SparkSession) -> None:
    """Drop what the jobs made, and what was worked into it."""
    for title in (*(table.title for table in MADE), "gold.runs", "silver.worked_batches"):
        spark.sql(f"DROP TABLE IF EXISTS {title}")


def digests(bench: Bench, day: int) -> Digests:
    """Number and summed hashes of each table's rows of that morning."""
    settings = load_settings("demo", as_of=morning(day), overrides=bench.sets, conf_dir=str(ROOT / "conf"))
    spark = build_session(settings, app_name="bench_items")
    try:
        lake, found = Lake(spark, settings), {}
        for table in MADE:
            if table.clock == "as_of":
                hashed = F.xxhash64(*(F.col(name).cast("string") for name in table.schema.names)).cast("decimal(38, 0)")
                row = lake.read_as_of(table).agg(F.count("*"), F.sum(hashed)).head()
                assert row is not None
                found[table.title] = (int(row[0]), int(row[1]))
        return found
    finally:
        spark.stop()


def check_equal(bench: Bench, day: int, carried: Digests) -> None:
    """Stop unless a full refresh gives the rows that the daily run left."""
    apart(drop_made, bench)
    for job in JOBS:
        show(f"{job}, full", run_job(bench, job, day, IN_FULL), {})
    whole = apart(digests, bench, day)
    differing = {title: (carried[title], of_whole) for title, of_whole in whole.items() if carried[title] != of_whole}
    if differing:
        raise SystemExit(f"as of {morning(day)} a daily run and a full refresh differ, rows and hashes: {differing}")
    counted = ", ".join(f"{rows:,} of {title.removeprefix('gold.')}" for title, (rows, _) in whole.items())
    print(f"  the same rows by both: {counted}", flush=True)


def next_day(bench: Bench, size: float, day: int, daily: dict[str, list[Took]]) -> None:
    """Bring in one more day, and let both jobs carry on from the day before."""
    apart(bring_in, bench, size, day - 1, day)
    for job in JOBS:
        took = run_job(bench, job, day)
        daily[job].append(took)
        show(f"{job}, daily, day {day}", took, {})


def race(bench: Bench, size: float) -> None:
    daily: dict[str, list[Took]] = {job: [] for job in JOBS}
    up: list[dict[str, list[float]]] = []
    reached = 0
    for day in bench.asked.days:
        num_events = apart(bring_in, bench, size, reached, day)
        print(f"day {day}: {num_events:,} events", flush=True)
        for job in JOBS:  # the day before: what a daily run carries on
            show(f"{job}, to day {day}", run_job(bench, job, day), {})
        for after in (day + 1, day + 2):
            next_day(bench, size, after, daily)
        check_equal(bench, day + 2, apart(digests, bench, day + 2))
        reached = day + 2 + NIGHTS_UP
        up.append(apart(consecutive_runs, bench, size, range(day + 2, reached), JOBS, forget, IN_FULL))
        for job, (*nights, whole) in up[-1].items():
            told = ", ".join(f"{seconds:.1f}" for seconds in nights)
            print(f"  {job}, process up: {told} s daily, {whole:.1f} s in full, {nights[-1] / whole:.0%}", flush=True)
    for job, runs in daily.items() if len(bench.asked.days) > 1 else ():
        early, late = runs[:2], runs[-2:]
        wall = sum(took.seconds for took in late) / sum(took.seconds for took in early)
        cpu = sum(took.cpu_seconds for took in late) / sum(took.cpu_seconds for took in early)
        print(
            f"{job}: the last two daily runs took {wall:.2f} times as long as the first two, {cpu:.2f} times the CPU; "
            f"process up, the last one {up[-1][job][-2] / up[0][job][-2]:.2f} times"
        )


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--events", type=float, default=2e6)
    ask.add_argument("--days", type=int, nargs="+", default=[30, 300], help="days after which both are timed")
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--memory", default="6GB", help="the JVM's heap")
    ask.add_argument("--folder", help="keeps what is drawn; default: a folder that goes with the run")
    ask.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting for clm")
    asked = ask.parse_args()
    asked.set.append("recommend.test_days=1")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(asked.folder or temporary).absolute() / f"{asked.events:.0f}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place / "lake", ignore_errors=True)
        race(Bench(place, asked), asked.events)


if __name__ == "__main__":
    main()
