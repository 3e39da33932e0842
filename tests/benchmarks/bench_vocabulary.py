"""Lists over a million items on two cores: what each recommender takes, and what it keeps in memory.

`python tests/benchmarks/bench_vocabulary.py --items 1e6` draws customers' days with items so that every item is in the
vocabulary, and makes indices, vocabulary and interactions of them. Then each model is trained and gives the lists of all
customers, filled up as they are when served, in a process of its own; so does a step of the indices by a day. It fails
where the process and its workers ever hold more than `--memory` together, or where a customer's list is not whole.
"""

import argparse
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

from bench_ingest import GIB, ROOT, measured
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.features.item_days import item_days_from_customers
from clm_spark.features.refresh_vocabulary import update_interactions, update_item_vocabulary
from clm_spark.models.catalogue import MODELS, load_settings
from clm_spark.models.filled_lists import filled_up
from clm_spark.models.recommender import Recommender
from clm_spark.models.task import Inputs
from clm_spark.session import build_session
from clm_spark.settings import Settings
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

AS_OF = date(2024, 12, 31)
NUM_DAYS = 300
EVERY_ITEM = 2  # days of each item, so that all are in the vocabulary; as many more fall on what is popular
MADE_FIRST = ("fill", "vocabulary", "step")
RECOMMENDERS = ("popularity", "own_favourites", "als", "user_neighbours", "ranker")


def settings_of(asked: argparse.Namespace, *, day: date) -> Settings:
    overrides = [
        f"lakehouse.path={asked.folder}/lake",
        f"spark.master=local[{asked.cores}]",
        f"spark.driver_memory={asked.heap}",
        "recommend.min_item_events=2",
        f"recommend.max_items={round(2 * asked.items)}",
        f"als.rank={asked.rank}",
    ]
    return load_settings("demo", as_of=day, overrides=overrides, conf_dir=str(ROOT / "conf"))


def drawn(spark: SparkSession, *, items: int, customers: int) -> DataFrame:
    """Rows of gold.customer_item_days: half by item, the rest by a long tail; every second is a purchase."""
    rows = spark.range(2 * EVERY_ITEM * items)
    chance = (F.pmod(F.xxhash64("id"), F.lit(1_000_003)) + 1) / 1_000_004
    popular = F.floor(F.pow(F.lit(float(items)), chance)) - 1  # as many of each power of ten
    item = F.when(F.col("id") < EVERY_ITEM * items, F.col("id") % items).otherwise(popular)
    placed = rows.select(
        F.sha2((F.pmod(F.xxhash64("id", F.lit(1)), F.lit(customers))).cast("string"), 256).alias("customer_id"),
        F.format_string("i%08d", item.cast("bigint")).alias("item_id"),
        F.date_sub(F.lit(AS_OF), (F.pmod(F.xxhash64("id", F.lit(2)), F.lit(NUM_DAYS)) + 1).cast("int")).alias("day_on"),
    )
    days = placed.groupBy("customer_id", "item_id", "day_on").agg(F.count("*").alias("num_events"))
    is_bought = F.pmod(F.xxhash64("customer_id", "item_id"), F.lit(2)) == 0
    noon = F.to_timestamp("day_on")
    given = {
        "known_on": F.col("day_on"),
        "category": F.concat(F.lit("c"), F.substring("item_id", -2, 2)),
        "num_lines": F.when(is_bought, F.col("num_events")).otherwise(0),
        "num_units": F.when(is_bought, F.col("num_events")).otherwise(0),
        "revenue_cents": F.when(is_bought, F.col("num_events") * 500).otherwise(0),
        "num_views": F.when(is_bought, 0).otherwise(F.col("num_events")),
        "last_purchase_at": F.when(is_bought, noon),
        "last_view_at": F.when(~is_bought, noon),
    }
    full = days.withColumns(given)
    rest = {
        column.name: F.lit(0 if isinstance(column.type, T.LongType) else None)
        for column in t.CUSTOMER_ITEM_DAYS.columns
        if column.name not in full.columns
    }
    typed = {c.name: F.col(c.name).cast(c.type) for c in t.CUSTOMER_ITEM_DAYS.columns}
    return full.withColumns(rest).withColumns(typed).select(t.CUSTOMER_ITEM_DAYS.schema.names)


def fill(lake: Lake, asked: argparse.Namespace) -> None:
    """Partials, and of them the vocabulary and the interactions as of the day before and of as_of."""
    lake.schemas.check_key(is_claimed=True)
    partials = drawn(lake.spark, items=round(asked.items), customers=round(asked.customers))
    lake.replace(partials, into=t.CUSTOMER_ITEM_DAYS, is_key_proven=True)
    days = item_days_from_customers(lake.read(t.CUSTOMER_ITEM_DAYS))
    lake.replace(days, into=t.ITEM_DAYS, is_key_proven=True)


def recommend(lake: Lake, name: str, path: str) -> None:
    """Train the model, give all lists, and stop unless they are whole."""
    (model,) = (each for each in MODELS if isinstance(each, Recommender) and each.name == name)
    inputs = Inputs(lake, AS_OF, lake.read_as_of(t.INTERACTIONS))
    model.fit(inputs, path)
    lists = filled_up(model.score(path, inputs), inputs, top_k=20)
    whole = lists.groupBy("customer_id").agg(F.countDistinct("item_id").alias("n")).where("n = 20").count()
    customers = inputs.rows.select("customer_id").distinct().count()
    if whole != customers:
        raise SystemExit(f"{name}: {whole} of {customers} customers have 20 items")


def one_stage(asked: argparse.Namespace) -> None:
    """What runs in a process of its own."""
    day = AS_OF - timedelta(days=1) if asked.stage == "vocabulary" else AS_OF
    settings = settings_of(asked, day=day)
    spark = build_session(settings, app_name="bench_vocabulary")
    try:
        lake = Lake(spark, settings, job="bench")
        if asked.stage == "fill":
            fill(lake, asked)
        elif asked.stage in {"vocabulary", "step"}:
            update_item_vocabulary(lake, [day])
            if asked.stage == "step":
                update_interactions(lake, [day])
        else:
            recommend(lake, asked.stage, f"file://{asked.folder}/{asked.stage}")
    finally:
        spark.stop()


def race(asked: argparse.Namespace) -> bool:
    """Whether every stage ended, within the memory."""
    is_done = True
    for stage in (*MADE_FIRST, *asked.models):
        command = [sys.executable, *sys.argv, "--folder", asked.folder, "--stage", stage]
        try:
            took = measured(command, Path(asked.folder) / f"{stage}.log", path=[ROOT / "tests/benchmarks"])
        except SystemExit as error:
            print(f"  {stage:18} failed: {str(error).strip().splitlines()[-1]}", flush=True)
            is_done = False
            continue
        is_too_much = stage != "fill" and took.peak_bytes > asked.memory * GIB
        is_done &= not is_too_much
        verdict = f"more than {asked.memory:.0f} GiB" if is_too_much else ""
        print(
            f"  {stage:18}{took.seconds:>8.0f} s{took.cpu_seconds:>8.0f} CPU s{took.peak_bytes / GIB:>7.1f} GiB {verdict}",
            flush=True,
        )
    return is_done


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--items", type=float, default=1e6)
    ask.add_argument("--customers", type=float, default=1e4)
    ask.add_argument("--models", nargs="*", default=RECOMMENDERS, choices=RECOMMENDERS)
    ask.add_argument("--rank", type=int, default=32, help="factors of ALS")
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--heap", default="2g", help="the JVM's; the rest is Python's")
    ask.add_argument("--memory", type=float, default=6.0, help="GiB that all processes may hold together")
    ask.add_argument("--folder", help="keeps what is drawn; default: a folder that goes with the run")
    ask.add_argument("--stage", help=argparse.SUPPRESS)
    asked = ask.parse_args()
    if asked.stage:
        one_stage(asked)
        return
    with tempfile.TemporaryDirectory() as temporary:
        asked.folder = str(Path(asked.folder or temporary).absolute())
        print(f"{asked.items:,.0f} items, {asked.customers:,.0f} customers", flush=True)
        if not race(asked):
            raise SystemExit("not every recommender serves so many items")


if __name__ == "__main__":
    main()
