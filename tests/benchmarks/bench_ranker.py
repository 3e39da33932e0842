"""How many candidates a core of a worker makes, describes and scores in a second: what `recommend_items` does most of.

`python tests/benchmarks/bench_ranker.py --customers 2000 --items 20000` draws histories of days with purchases, of which
half are of items that the customer keeps to and half of what is popular (Zipf), learns what the ranker knows of the items
from 10,000 of the customers, trains as many trees as asked for, and times the worker's steps on one thread, by the
process's time on the processor. No Spark takes part: its shuffle and Arrow are not counted.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import xgboost
from threadpoolctl import threadpool_limits

from clm_spark.models.ranker.candidates import keys_of
from clm_spark.models.ranker.features import as_trees_know, features_of, features_with
from clm_spark.models.ranker.knowledge import Knowledge, item_sums, knowledge_of
from clm_spark.models.ranker.lines import histories_of
from clm_spark.models.ranker.settings import CandidateSettings, RankerSettings
from clm_spark.models.ranker.sources import CandidateOptions, blocks_of
from clm_spark.models.top_k import best_of

DAYS = 364
BASKETS, LINES = 13, 7  # of a customer, of a basket: means
KEPT_TO = 30  # items that a customer keeps to
LOOKS = 0.2  # share of the days that are looks alone
CATEGORIES = 300
RECENT_DAYS = 28
TRAINED_ON = 200_000  # candidates


def drawn(random: np.random.Generator, *, customers: int, items: int) -> pa.RecordBatch:
    """A row per customer, as `histories_of` reads it."""
    up_to = np.cumsum(1 / np.arange(1, items + 1) ** 0.9)
    up_to /= up_to[-1]
    whose = np.repeat(np.arange(customers), 1 + random.poisson(BASKETS - 1, customers))
    size = 1 + random.poisson(LINES - 1, len(whose))
    customer, age = np.repeat(whose, size), np.repeat(random.integers(1, DAYS + 1, len(whose)), size)
    kept_to = np.searchsorted(up_to, random.random((customers, KEPT_TO)))
    popular = np.searchsorted(up_to, random.random(len(customer)))
    keeps = random.random(len(customer)) < 0.5
    item = np.where(keeps, kept_to[customer, random.integers(0, KEPT_TO, len(customer))], popular)
    lines = np.unique(np.column_stack([customer, np.minimum(item, items - 1), age]), axis=0)
    is_look = random.random(len(lines)) < LOOKS
    ends = pa.array(np.searchsorted(lines[:, 0], np.arange(customers + 1)), pa.int32())
    of_lines = {
        "items": lines[:, 1],
        "ages": lines[:, 2],
        "units": np.where(is_look, 0.0, 1.0),
        "spent": np.where(is_look, 0.0, random.gamma(2, 2, len(lines))),
        "looks": is_look.astype(int),
    }
    lists = {name: pa.ListArray.from_arrays(ends, pa.array(values)) for name, values in of_lines.items()}
    return pa.RecordBatch.from_pydict({"customer_key": np.arange(customers), **lists})


def learned(batch: pa.RecordBatch, random: np.random.Generator, items: int, asked: CandidateOptions) -> Knowledge:
    """What the ranker knows, all of it from the customers of reference."""
    settings = asked.settings
    some = batch.slice(0, settings.reference_customers)
    histories = histories_of(some, num_items=items, longest=settings.longest_history)
    sums = item_sums(histories.bought, recent_days=RECENT_DAYS)
    return knowledge_of(sums, random.integers(0, CATEGORIES, items), histories, settings=settings)


def trained(features: np.ndarray, random: np.random.Generator, num_trees: int) -> xgboost.Booster:
    """Trees of the ranker's shape; what was bought is drawn by how much the customer bought the item before."""
    rows = random.permutation(len(features))[:TRAINED_ON]
    days, age = np.nan_to_num(features[rows, 0]), np.nan_to_num(features[rows, 2], nan=1.0 * DAYS)
    bought = random.random(len(rows)) < 1 / (1 + np.exp(4 - days / 2 + age / 50))
    shape = RankerSettings()
    asked = {
        "objective": "binary:logistic",
        "max_depth": max(shape.depths),
        "eta": shape.step_size,
        "subsample": shape.subsample,
        "colsample_bytree": shape.feature_share,
        "min_child_weight": shape.min_leaf_weight,
        "seed": shape.seed,
    }
    told = as_trees_know(features[rows], features_with(CandidateSettings()))
    booster = xgboost.train(asked, xgboost.DMatrix(told, bought), num_trees)
    booster.set_param({"nthread": 1})
    return booster


class Clock:
    """Seconds on the processor, by step."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.seconds[step] += time.process_time() - begun


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--customers", type=int, default=2_000, help="whose lists are made")
    ask.add_argument("--items", type=int, default=20_000)
    ask.add_argument("--trees", type=int, default=300)
    ask.add_argument("--repeat", type=int, default=3)
    asked = ask.parse_args()
    random, options = np.random.default_rng(7), CandidateOptions(CandidateSettings(), RECENT_DAYS)
    batch = drawn(random, customers=max(asked.customers, options.settings.reference_customers), items=asked.items)
    known = learned(batch, random, asked.items, options)
    some = batch.slice(0, asked.customers)
    with threadpool_limits(1):
        features = [features_of(block, keys_of(block)) for block in blocks_of([some], known, options)]
    booster = trained(np.concatenate(features), random, asked.trees)
    for _ in range(asked.repeat):
        clock, num_rows = Clock(), 0
        with threadpool_limits(1):
            blocks = blocks_of([some], known, options)
            while True:
                with clock("histories"):
                    block = next(blocks, None)
                if block is None:
                    break
                with clock("candidates"):
                    keys = keys_of(block)
                with clock("features"):
                    table = features_of(block, keys)
                with clock("trees"):
                    scores = booster.inplace_predict(as_trees_know(table, features_with(options.settings)))
                with clock("lists"):
                    best_of(keys // asked.items, keys % asked.items, scores, 20)
                num_rows += len(keys)
        show(clock.seconds, num_rows, asked.customers)


def show(seconds: Counter[str], num_rows: int, num_customers: int) -> None:
    """Rows a second of each step, of features and trees together, and of all."""
    together = {
        **seconds,
        "features and trees": seconds["features"] + seconds["trees"],
        "all": sum(seconds.values()),
    }
    print(f"{num_rows:,} candidates of {num_customers:,} customers; thousands a second and core:")
    print("  " + ", ".join(f"{step} {num_rows / took / 1e3:,.0f}" for step, took in together.items()), flush=True)


if __name__ == "__main__":
    main()
