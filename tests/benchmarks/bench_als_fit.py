"""Fit ALS at equal rank, iterations and alpha: in NumPy on the workers, by MLlib, by `implicit`; seconds and NDCG@10.

`python tests/benchmarks/bench_als_fit.py --lakehouse lakehouse --movielens ml1m` takes The Complete Journey from a lakehouse
that `make run` built, split by time as `train_recommenders` does, and MovieLens 1M, each user's last film left out and films
seen before hidden. A data set that is not named is left out. `implicit` penalises every row alike, the others by its number
of pairs: it is fitted with the same number, and with that number times the mean of pairs.
"""

import argparse
import gzip
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from bench_als import HERE, python_of_implicit
from bench_ingest import COMPILED, ROOT
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from clm_spark.models.als import AlsSettings, fit_als
from clm_spark.models.catalogue import load_settings
from clm_spark.models.recommendation import Recommendation
from clm_spark.models.top_k import Cells, top_k
from clm_spark.session import build_session
from clm_spark.settings import Settings
from clm_spark.tables.catalog import ITEM_VOCABULARY
from clm_spark.tables.lake import Lake

K = 10
PURCHASE = 5.0  # strength, by default
UNKNOWN = -1  # an item that was bought and is in no vocabulary: nobody can find it


class Shop(NamedTuple):
    """What is learned from, as Parquet, and what came after: customer and item by index."""

    name: str
    pairs: str
    later: np.ndarray
    hides_seen: bool


def journey(spark: SparkSession, settings: Settings, place: Path) -> Shop:
    names = ("customer_index", "item_index")
    with Recommendation().split(Lake(spark, settings)) as split:
        past, items = split.past.rows, split.past.read(ITEM_VOCABULARY).select("item_id", "item_index")
        past.select(*names, "strength").write.parquet(f"{place}/journey")
        known = past.select("customer_id", "customer_index").distinct()
        bought = split.truth.join(known, on="customer_id", how="inner").join(items, on="item_id", how="left")
        later = bought.select("customer_index", F.coalesce("item_index", F.lit(UNKNOWN)).alias("item_index")).toPandas()
    return Shop(settings.shop.name, f"{place}/journey", later.to_numpy(), settings.recommend.hide_seen)


def movielens(spark: SparkSession, folder: str, place: Path) -> Shop:
    with gzip.open(Path(folder) / "ml-1m.txt.gz", "rt") as lines:
        rows = np.array([line.split() for line in lines], dtype=np.int32)
    is_last = np.append(rows[1:, 0] != rows[:-1, 0], True)
    users, items = rows[~is_last].T
    strengths = np.full(len(users), PURCHASE)
    columns = pa.table({"customer_index": users, "item_index": items, "strength": strengths})
    spark.createDataFrame(columns).write.parquet(f"{place}/movielens")
    return Shop("MovieLens 1M", f"{place}/movielens", rows[is_last], hides_seen=True)


def fitted_by_spark(spark: SparkSession, shop: Shop, place: Path, settings: AlsSettings) -> tuple[float, str]:
    """Seconds from Parquet to written factors, and where they are."""
    out, begun = f"{place}/{settings.solver}-{time.monotonic_ns()}", time.monotonic()
    model = fit_als(spark.read.parquet(shop.pairs), settings=settings)
    for name, factors in (("user", model.userFactors), ("item", model.itemFactors)):
        factors.write.parquet(f"{out}-{name}Factors.parquet")
    return time.monotonic() - begun, out


def fitted_by_implicit(shop: Shop, place: Path, regularization: float, asked: argparse.Namespace) -> tuple[float, str]:
    out = f"{place}/implicit-{time.monotonic_ns()}"
    words = ["fit", shop.pairs, out, "--rank", asked.rank, "--iterations", asked.iterations, "--cores", asked.cores,
             "--alpha", asked.alpha, "--regularization", regularization]  # fmt: skip
    command = ["env", "OPENBLAS_NUM_THREADS=1", python_of_implicit(asked.folder), HERE / "als_rivals.py", *words]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["seconds"], out


def ndcg(shop: Shop, out: str) -> float:
    """NDCG@10 as `customer_ranking` has it, over the customers who took something later."""
    (customers, vectors), (items, item_vectors) = (factors(f"{out}-{side}Factors.parquet") for side in ("user", "item"))
    hidden = None
    if shop.hides_seen:
        seen = ds.dataset(shop.pairs, format="parquet").to_table()
        hidden = Cells(*(np.searchsorted(of, seen[name].to_numpy()) for of, name in
                         ((customers, "customer_index"), (items, "item_index"))))  # fmt: skip
    best, _ = top_k(vectors, item_vectors, K, hidden)
    discounts = 1 / np.log2(np.arange(2, K + 2))
    asked, num_taken = np.unique(shop.later[:, 0], return_counts=True)
    rows = np.searchsorted(customers, asked)
    listed = np.where(best[rows] >= 0, items[best[rows]], UNKNOWN - 1)
    is_hit = np.isin(_pairs(asked[:, None], listed), _pairs(*shop.later.T))
    ideal = np.cumsum(discounts)[np.minimum(num_taken, K) - 1]
    return float((is_hit @ discounts / ideal).mean())


def _pairs(customers: np.ndarray, items: np.ndarray) -> np.ndarray:
    return customers.astype(np.int64) * 2**32 + items


def factors(path: str) -> tuple[np.ndarray, np.ndarray]:
    rows = ds.dataset(path, format="parquet").to_table().sort_by("id").combine_chunks()
    vectors = rows["features"].combine_chunks().flatten().to_numpy()
    return rows["id"].to_numpy(), np.ascontiguousarray(vectors.reshape(len(rows), -1), dtype=np.float32)


def compare(spark: SparkSession, shop: Shop, place: Path, asked: argparse.Namespace) -> None:
    pairs = ds.dataset(shop.pairs, format="parquet").to_table(columns=["customer_index"])
    num_pairs, num_customers = len(pairs), len(pairs["customer_index"].unique())
    print(f"\n{shop.name}: {num_pairs:,} pairs of {num_customers:,} customers, rank {asked.rank}, "
          f"{asked.iterations} iterations, alpha {asked.alpha}, regularization {asked.regularization}", flush=True)  # fmt: skip
    for solver in asked.solvers:
        settings = AlsSettings(
            rank=asked.rank, iterations=asked.iterations, alpha=asked.alpha, regularization=asked.regularization,
            solver=solver, blocks=asked.blocks, seed=asked.seed,
        )  # fmt: skip
        show(shop, solver, [fitted_by_spark(spark, shop, place, settings) for _ in range(asked.repeat)])
    for times in (1.0, num_pairs / num_customers):
        fits = [fitted_by_implicit(shop, place, asked.regularization * times, asked) for _ in range(asked.repeat)]
        show(shop, f"implicit, regularization {asked.regularization * times:.1f}", fits)


def show(shop: Shop, name: str, fits: list[tuple[float, str]]) -> None:
    turns = " ".join(f"{seconds:.1f}" for seconds, _ in fits)
    print(f"  {name:32}{turns:>16} s   NDCG@{K} {ndcg(shop, fits[-1][1]):.4f}", flush=True)


def shops(spark: SparkSession, settings: Settings, place: Path, asked: argparse.Namespace) -> Iterator[Shop]:
    if asked.lakehouse:
        yield journey(spark, settings, place)
    if asked.movielens:
        yield movielens(spark, asked.movielens, place)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--lakehouse", help="where `make run` left The Complete Journey")
    ask.add_argument("--movielens", help="folder with ml-1m.txt.gz: user and item in the order of time")
    ask.add_argument("--profile", default="local", help="demo, for a lakehouse of the synthetic shop")
    ask.add_argument("--as-of", type=date.fromisoformat, default=date(2017, 10, 1))
    ask.add_argument("--solvers", nargs="+", default=["numpy", "mllib"])
    ask.add_argument("--rank", type=int, default=128)
    ask.add_argument("--iterations", type=int, default=4)
    ask.add_argument("--alpha", type=float, default=0.2)
    ask.add_argument("--regularization", type=float, default=0.1)
    ask.add_argument("--seed", type=int, default=7, help="of our solvers")
    ask.add_argument("--blocks", type=int, default=4)
    ask.add_argument("--repeat", type=int, default=2, help="the first run of a session also starts its workers")
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--folder", help="keeps the environment of implicit; default: a folder that goes with the run")
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        asked.folder = Path(asked.folder or temporary).absolute()
        sets = {"lakehouse.path": asked.lakehouse or place / "lake", "spark.master": f"local[{asked.cores}]"}
        settings = load_settings(
            asked.profile,
            as_of=asked.as_of,
            overrides=[COMPILED, *(f"{key}={value}" for key, value in sets.items())],
            conf_dir=str(ROOT / "conf"),
        )
        spark = build_session(settings, app_name="bench_als_fit")
        for shop in shops(spark, settings, place, asked):
            compare(spark, shop, place, asked)
        spark.stop()


if __name__ == "__main__":
    main()
