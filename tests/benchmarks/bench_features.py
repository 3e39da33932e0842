"""Customer features of a synthetic shop: a full refresh, and a daily run early and late, next to baselines.

`python tests/benchmarks/bench_features.py --events 5e6` draws a shop of 300 days, writes its events to silver.events day
by day, and then measures whole processes: `clm run build_features` for day 30 and the day after, for day 300 and the day
after, and DuckDB and Polars on the files of silver.events. More daily runs follow in one process, as on a cluster that
stays up. It fails unless all give the same features.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb
from bench_ingest import GIB, ROOT, Took, clm, measured
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.demo.shop import write_shop
from clm_spark.events.clocks import available_at
from clm_spark.job import run_job
from clm_spark.models.catalogue import load_settings
from clm_spark.session import build_session, persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import EVENT_KINDS, EVENTS, INGESTED_BATCHES
from clm_spark.tables.lake import Lake

NIGHTS_ON_END = 4
NUM_DAYS = 301 + NIGHTS_ON_END
RECORDS_A_CUSTOMER = 265.0  # in 300 days
FIRST = date(2024, 1, 1)


@dataclass(frozen=True)
class Bench:
    place: Path
    asked: argparse.Namespace

    @property
    def sets(self) -> list[str]:
        return [
            f"lakehouse.path={self.place / 'lake'}",
            "features.panel_size=1",
            f"spark.master=local[{self.asked.cores}]",
            f"spark.driver_memory={self.asked.memory.lower().removesuffix('b')}",
            *self.asked.set,
        ]

    def settings(self, day: int = 0, *more: str) -> Settings:
        return load_settings("demo", as_of=morning(day), overrides=[*self.sets, *more], conf_dir=str(ROOT / "conf"))

    def daily_run(self, day: int) -> Took:
        """`clm run build_features` for the morning after so many days."""
        words = [word for text in self.sets for word in ("--set", text)]
        command = clm("run", "build_features", "--profile", "demo", "--as-of", str(morning(day)), *words)
        return measured(command, self.place / "clm.log")

    def recomputed(self, engine: str, day: int) -> Took:
        """The same morning by a baseline, from all events."""
        script = str(ROOT / f"tests/benchmarks/features_{engine}.py")
        events = str(self.place / "lake/tables/silver.db/events/batch_id=*/*.parquet")
        # Polars takes what memory there is.
        memory = self.asked.baseline_memory or self.asked.memory
        sizes = ["--memory", memory, "--cores", str(self.asked.cores)] if engine == "duckdb" else []
        command = [sys.executable, script, events, str(morning(day)), str(self.place / "theirs.parquet"), *sizes]
        return measured(command, self.place / f"{engine}.log", path=[ROOT / "tests"])

    def check_equal(self, day: int) -> int:
        """Stops unless both have the same customers with the same features; gives how many."""
        mine = f"{self.place}/lake/tables/gold.db/customer_features/as_of={morning(day)}/*.parquet"
        with duckdb.connect() as db:
            db.execute(f"CREATE VIEW mine AS SELECT * FROM read_parquet('{mine}', hive_partitioning = false)")
            db.execute(f"CREATE VIEW theirs AS SELECT * FROM read_parquet('{self.place / 'theirs.parquet'}')")
            columns = {row[0]: row[1] for row in db.execute("DESCRIBE theirs").fetchall()}
            ours = {row[0] for row in db.execute("DESCRIBE mine").fetchall()} - {"as_of"}
            if ours != set(columns):
                raise SystemExit(f"clm and its baseline have other features: {sorted(ours ^ set(columns))}")
            differs = [f"count(*) FILTER (WHERE {differing(name, kind)}) AS {name}" for name, kind in columns.items()]
            found = db.execute(f"SELECT {', '.join(differs)} FROM mine m FULL JOIN theirs t USING (customer_id)")
            wrong = {c[0]: n for c, n in zip(found.description, found.fetchone() or (), strict=True) if n}
            if wrong:
                raise SystemExit(f"as of {morning(day)} clm and its baseline differ, customers by feature: {wrong}")
            row = db.execute("SELECT count(*) FROM mine").fetchone()
            assert row is not None
            return int(row[0])


def differing(name: str, kind: str) -> str:
    if name == "customer_id":
        return "m.recency_days IS NULL OR t.recency_days IS NULL"
    if kind == "DOUBLE":
        return f"coalesce(abs(m.{name} - t.{name}) > 1e-9 * abs(t.{name}), (m.{name} IS NULL) <> (t.{name} IS NULL))"
    return f"m.{name} IS DISTINCT FROM t.{name}"


def morning(day: int) -> date:
    """After so many days of the shop."""
    return FIRST + timedelta(days=day)


def draw(bench: Bench, spark: SparkSession, events: float) -> DataFrame:
    """The shop's records as rows of silver.events; what is broken in them is left out."""
    shop = bench.place / f"shop-{events:.0f}"
    if not (shop / "parameters.json").exists():  # written last
        shutil.rmtree(shop, ignore_errors=True)
        customers = round(events / RECORDS_A_CUSTOMER)
        write_shop(
            spark, customers=customers, days=NUM_DAYS, start_on=FIRST, seed=7, out=str(shop), log_format="parquet"
        )
    records = spark.read.parquet(str(shop / "log"))
    cents = {f"{name}_cents": F.round(F.col(name) * 100).cast("bigint") for name in ("price", "amount", "discount")}
    known_at = F.greatest(F.coalesce("known_at", "occurred_at"), F.col("occurred_at"))
    named = {
        "event_id": F.md5(F.concat_ws("|", "customer_id", F.unix_micros("occurred_at"), "kind", "hit")),
        "customer_id": F.sha2("customer_id", 256),
        "known_at": known_at,
        "attributes": F.create_map(*(part for name in ("device", "channel") for part in (F.lit(name), F.col(name)))),
        "source": F.lit("mapping:demo_shop"),
        "batch_id": F.date_format(known_at, "'d'yyyyMMdd"),
    }
    is_whole = (
        F.col("customer_id").isNotNull() & F.col("kind").isin(*EVENT_KINDS) & (F.col("occurred_at") >= F.lit(FIRST))
    )
    # In Spark's order NaN is above infinity.
    is_number = (F.abs(F.coalesce("price", F.lit(0.0))) < float("inf")) & (F.coalesce("quantity", F.lit(0)) >= 0)
    whole = records.where(is_whole & is_number).withColumns(cents).withColumns(named)
    rest = {c.name: F.lit(None).cast(c.type) for c in EVENTS.columns if c.name not in whole.columns}
    return whole.withColumns(rest).select(EVENTS.schema.names)


def land(lake: Lake, events: DataFrame, *, since: int, until: int) -> None:
    """Ingest what became known on these days, a batch a day, as ingestion writes it."""
    span = (F.col("known_at") >= F.lit(morning(since))) & (F.col("known_at") < F.lit(morning(until)))
    days = [morning(day) for day in range(since, until)]
    batches = [f"d{day:%Y%m%d}" for day in days]
    came = events.where(span).repartition(*(min(len(days), 64), "batch_id"))
    version = lake.replace(came, into=EVENTS, is_key_proven=True, batch_id=batches).version
    counted = (
        lake.read(EVENTS)
        .where(F.col("batch_id").isin(batches))
        .groupBy("batch_id", "source")
        .agg(
            F.count("*").alias("num_kept"),
            F.min("occurred_at").alias("first_occurred_at"),
            F.max("occurred_at").alias("last_occurred_at"),
            F.min(available_at()).alias("first_known_at"),
            F.max(available_at()).alias("last_known_at"),
        )
    )
    given = {"num_files": F.lit(1), "num_read": F.col("num_kept"), "num_rejected": F.lit(0), "num_duplicates": F.lit(0)}
    signed = counted.withColumns({name: value.cast("bigint") for name, value in given.items()}).withColumns(
        {
            "new_columns": F.array().cast("array<string>"),
            "events_version": F.lit(version).cast("bigint"),
            "job": F.lit("bench"),
            "as_of": F.lit(FIRST),
        }
    )
    lake.replace(signed.select(INGESTED_BATCHES.schema.names), into=INGESTED_BATCHES, batch_id=batches)


def apart(work: Callable[..., Any], *given: Any) -> Any:
    """In a process of its own: a local metastore lets in one at a time."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_text_errors, (work, given))


def _with_text_errors(work: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """Spark's exceptions hold a session, which cannot be sent to another process."""
    try:
        return work(*given)
    except PySparkException as error:
        raise RuntimeError(str(error)) from None


def bring_in(bench: Bench, size: float, since: int, until: int) -> int:
    """The events of these days; gives how many there are now."""
    settings = bench.settings()
    spark = build_session(settings, app_name="bench_features")
    try:
        lake = Lake(spark, settings, job="bench")
        lake.schemas.check_key(is_claimed=True)
        land(lake, draw(bench, spark, size), since=since, until=until)
        return lake.read(EVENTS).count()
    finally:
        spark.stop()


def consecutive_runs(
    bench: Bench,
    size: float,
    days: range,
    jobs: Sequence[str],
    forget: Callable[[SparkSession], None] | None = None,
    in_full: str = "",
) -> dict[str, list[float]]:
    """The daily runs after each of these days, in one process: seconds of each job, without ingestion.

    With `forget`, which drops what the jobs made, the last seconds are those of the last morning made anew, with the setting
    `in_full`.
    """
    spark = build_session(bench.settings(), app_name="bench_features")
    seconds: dict[str, list[float]] = {job: [] for job in jobs}

    def run_all(morning_after: int, *sets: str) -> None:
        for job in jobs:
            run = import_module(f"clm_spark.jobs.{job}").run
            seconds[job].append(run_job(spark, job, run, bench.settings(morning_after, *sets)).seconds)

    try:
        lake = Lake(spark, bench.settings(), job="bench")
        span = (F.col("known_at") >= F.lit(morning(days.start))) & (F.col("known_at") < F.lit(morning(days.stop)))
        with persisted(draw(bench, spark, size).where(span)) as events:
            for day in days:
                land(lake, events, since=day, until=day + 1)
                run_all(day + 1)
        if forget is not None:
            forget(spark)
            run_all(days.stop, in_full)
        return seconds
    finally:
        spark.stop()


def show(what: str, took: Took, beside: dict[str, Took]) -> None:
    ratios = ", ".join(f"{took.seconds / baseline.seconds:.2f} to {engine}" for engine, baseline in beside.items())
    peak = took.peak_bytes / GIB
    print(f"  {what:26}{took.seconds:>8.1f} s{took.cpu_seconds:>8.0f} CPU s{peak:>7.1f} GiB  {ratios}", flush=True)


def baseline(bench: Bench, engine: str, day: int) -> Took | None:
    """A baseline's full computation, compared with clm's rows; None where it did not finish."""
    try:
        took = bench.recomputed(engine, day)
    except SystemExit as error:
        print(f"  {engine} failed: {str(error).strip().splitlines()[-1]}", flush=True)
        return None
    show(f"{engine}, everything", took, {})
    print(f"  {bench.check_equal(day):,} customers, the same features as clm's", flush=True)
    return took


def check_carried(bench: Bench, baselines: dict[str, Took], day: int) -> None:
    """Fail unless the features of this morning, made step by step, are those of the first baseline."""
    for engine in list(baselines)[:1]:
        bench.recomputed(engine, day)
        print(f"  {bench.check_equal(day):,} customers on day {day}, the same features as {engine}'s", flush=True)


def race(bench: Bench, size: float) -> None:
    daily_runs, on_end = {}, {}
    reached = 0
    for day in bench.asked.days:
        num_events = apart(bring_in, bench, size, reached, day)
        if reached:  # everything anew, as after a change of what is counted
            apart(drop_gold, bench)
        print(f"day {day}: {num_events:,} events", flush=True)
        whole = bench.daily_run(day)
        show("clm, full refresh", whole, {})
        baselines = {engine: took for engine in bench.asked.baselines if (took := baseline(bench, engine, day))}
        show("clm, full refresh", whole, baselines)
        apart(bring_in, bench, size, day, day + 1)
        daily_runs[day] = bench.daily_run(day + 1)
        show("clm, the daily run after it", daily_runs[day], baselines)
        check_carried(bench, baselines, day + 1)
        nights = range(day + 1, day + 1 + NIGHTS_ON_END)
        (on_end[day],) = apart(consecutive_runs, bench, size, nights, ["build_features"]).values()
        print(f"  {NIGHTS_ON_END} more, process up: {', '.join(f'{took:.1f}' for took in on_end[day])} s", flush=True)
        reached = day + 1 + NIGHTS_ON_END
        check_carried(bench, baselines, reached)
    first, last = bench.asked.days[0], bench.asked.days[-1]
    if first == last:
        return
    ratio, ratio_up = daily_runs[last].seconds / daily_runs[first].seconds, on_end[last][-1] / on_end[first][-1]
    print(
        f"the daily run of day {last} took {ratio:.2f} times as long as that of day {first}; {ratio_up:.2f} in a process up"
    )


def drop_gold(bench: Bench) -> None:
    """Let the lakehouse forget its gold tables, and what was worked into them."""
    settings = bench.settings()
    spark = build_session(settings, app_name="bench_features")
    try:
        for schema, table in (
            ("gold", "customer_days"),
            ("gold", "customer_features"),
            ("gold", "runs"),
            ("silver", "worked_batches"),
        ):
            spark.sql(f"DROP TABLE IF EXISTS {schema}.{table}")
    finally:
        spark.stop()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--events", type=float, nargs="+", default=[5e6, 20e6, 80e6])
    ask.add_argument(
        "--days",
        type=int,
        nargs="+",
        default=[30, 300],
        help="days after which a full refresh and a daily run are timed",
    )
    ask.add_argument("--baselines", nargs="*", default=["duckdb", "polars"])
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--memory", default="6GB", help="the JVM's heap, DuckDB's limit")
    ask.add_argument("--baseline-memory", help="DuckDB's memory limit, where it differs")
    ask.add_argument("--folder", help="keeps what is drawn; default: a folder that goes with the run")
    ask.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting for clm")
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for size in asked.events:
            place = Path(asked.folder or temporary).absolute() / f"{size:.0f}"
            place.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(place / "lake", ignore_errors=True)
            race(Bench(place, asked), size)


if __name__ == "__main__":
    main()
