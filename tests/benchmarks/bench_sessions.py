"""Visits from events: by slots, by Spark's plain window query, and by DuckDB, from the same Parquet files.

`python tests/benchmarks/bench_sessions.py --events 5e6`. Each runs twice in a process that is up already, and the second
run counts, so that what is compared is the work and not the start; all must leave the same visits.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
from bench_features import Bench, draw
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.visits.sessions import sessions_from_events
from clm_spark.session import build_session
from clm_spark.tables.measures import NOT_A_VISIT, OF_VISIT

HALF_HOUR = timedelta(minutes=30)
IS_ACT = f"kind NOT IN {NOT_A_VISIT}"
# The same for the same visits in any order.
FINGERPRINT = "count(*), sum(CAST(hash(customer_id, epoch_us(started_at), epoch_us(ended_at), num_events, revenue_cents) AS HUGEINT))"


def by_slots(events: DataFrame) -> DataFrame:
    return sessions_from_events(events, max_gap=HALF_HOUR)


def by_windows(events: DataFrame) -> DataFrame:
    """As every text on sessions has it: look back, mark what comes after a silence, count the marks."""
    history = Window.partitionBy("customer_id").orderBy("occurred_at")
    gap = F.col("occurred_at") - F.lag("occurred_at").over(history)
    marked = events.where(IS_ACT).withColumn("is_first", F.coalesce(gap > F.lit(HALF_HOUR), F.lit(True)).cast("int"))
    numbered = marked.withColumn("visit", F.sum("is_first").over(history.rowsBetween(Window.unboundedPreceding, 0)))
    return numbered.groupBy("customer_id", "visit").agg(
        F.min("occurred_at").alias("started_at"),
        F.max("occurred_at").alias("ended_at"),
        *(F.expr(measure.sql).alias(measure.name) for measure in OF_VISIT),
    )


BY_DUCKDB = f"""
WITH marked AS (
  SELECT *, coalesce(occurred_at - lag(occurred_at) OVER history > INTERVAL 30 MINUTE, true)::INT AS is_first
  FROM events WHERE {IS_ACT} WINDOW history AS (PARTITION BY customer_id ORDER BY occurred_at)
),
numbered AS (
  SELECT *, sum(is_first) OVER (PARTITION BY customer_id ORDER BY occurred_at ROWS UNBOUNDED PRECEDING) AS visit FROM marked
)
SELECT customer_id, min(occurred_at) AS started_at, max(occurred_at) AS ended_at, count(*) AS num_events,
  count(*) FILTER (WHERE kind IN ('view', 'click')) AS num_views, count(*) FILTER (WHERE kind = 'cart') AS num_carts,
  count(*) FILTER (WHERE kind = 'purchase') AS num_purchases,
  coalesce(sum(amount_cents) FILTER (WHERE kind = 'purchase'), 0)::BIGINT AS revenue_cents
FROM numbered GROUP BY customer_id, visit"""


def second_run(work: Callable[[], object]) -> float:
    work()
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--events", type=float, default=5e6)
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--memory", default="6GB")
    ask.add_argument("--folder", help="keeps the events; default: a folder that goes with the run")
    ask.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting for clm")
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(asked.folder or temporary).absolute() / f"{asked.events:.0f}"
        bench = Bench(place, asked)
        spark = build_session(bench.settings(), app_name="bench_sessions")
        files = str(place / "events")
        if not Path(files, "_SUCCESS").exists():
            draw(bench, spark, asked.events).write.mode("overwrite").parquet(files)
        events = spark.read.parquet(files)
        num_events = events.count()
        found, seconds = {}, {}
        for name, cut in (("slots", by_slots), ("windows", by_windows)):
            visits = cut(events).write.mode("overwrite")
            seconds[name] = second_run(lambda visits=visits, name=name: visits.parquet(str(place / name)))
        with duckdb.connect() as db:
            db.execute(f"SET memory_limit = '{asked.memory}'; SET threads = {asked.cores}; SET TimeZone = 'UTC'")
            db.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{files}/*.parquet')")
            out = place / "duckdb.parquet"
            seconds["DuckDB"] = second_run(lambda: db.execute(f"COPY ({BY_DUCKDB}) TO '{out}' (FORMAT parquet)"))
            for name, where in (("slots", "slots/*.parquet"), ("windows", "windows/*.parquet"), ("DuckDB", out.name)):
                found[name] = db.execute(f"SELECT {FINGERPRINT} FROM read_parquet('{place / where}')").fetchone()
        spark.stop()
    if len(set(found.values())) > 1:
        raise SystemExit(f"not the same visits: {found}")
    print(f"{num_events:,} events, {found['slots'][0]:,} visits, the same by all")
    for name, took in seconds.items():
        speed = num_events / took / asked.cores
        print(f"  {name:8}{took:>7.1f} s{speed:>12,.0f} events/s/core{took / seconds['DuckDB']:>8.2f} to DuckDB")


if __name__ == "__main__":
    main()
