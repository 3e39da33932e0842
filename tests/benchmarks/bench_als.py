"""Write every customer's list from saved factors: by `recommend_by_als`, by MLlib's `recommendForAllUsers`, by `implicit`.

`python tests/benchmarks/bench_als.py --customers 138000 --items 20000 --rank 64` draws the factors, times each contestant
from the saved model to lists in Parquet, one after the other on the same files, and holds our lists against a product and
a full sort in NumPy. MLlib is asked for `--mllib-customers` only, and compared by customer. Factors are small whole
numbers: their products are exact in whatever order they are summed, and they tie.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from bench_ingest import COMPILED, ROOT
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.models.als import AlsSettings, fit_als, recommend_by_als, save_als
from clm_spark.models.catalogue import load_settings
from clm_spark.session import build_session

HERE = Path(__file__).parent
IMPLICIT = ("implicit==0.7.3", "pyarrow", "numpy>=2")  # what pip is asked for
SPREAD = 8  # whole numbers up to some four times this: sums of 64 products stay below 2^24, exact in float32
FILES = 8


def saved_model(spark: SparkSession, path: Path, asked: argparse.Namespace) -> DataFrame:
    """Draw factors into a saved model; gives a row per customer, as of gold.interactions."""
    interactions = spark.range(asked.customers).select(
        F.format_string("c%07d", "id").alias("customer_id"),
        F.col("id").cast("int").alias("customer_index"),
        (F.col("id") % asked.items).cast("int").alias("item_index"),
        F.lit(1.0).alias("strength"),
    )
    settings = AlsSettings(rank=asked.rank, iterations=1, blocks=1)
    save_als(fit_als(interactions.limit(10), settings=settings), interactions, f"file://{path}")
    folder, random = stage(path), np.random.default_rng(7)
    for side, num in (("user", asked.customers), ("item", asked.items)):
        shutil.rmtree(folder / f"{side}Factors")
        (folder / f"{side}Factors").mkdir()
        for part, indices in enumerate(np.array_split(np.arange(num, dtype=np.int32), FILES)):
            whole = np.rint(random.normal(scale=SPREAD, size=(len(indices), asked.rank))).astype(np.float32)
            vectors = pa.FixedSizeListArray.from_arrays(whole.ravel(), asked.rank).cast(pa.list_(pa.float32()))
            table = pa.table({"id": indices, "features": vectors})
            pq.write_table(table, folder / f"{side}Factors" / f"part-{part}.parquet")
    return interactions


def stage(path: Path) -> Path:
    (folder,) = path.glob("model/sparkml/stages/*")
    return folder


def seconds_of_ours(interactions: DataFrame, path: Path, out: Path, k: int) -> float:
    begun = time.monotonic()
    lists = recommend_by_als(interactions, model_path=f"file://{path}", top_k=k, hide_seen=False)
    lists.write.parquet(str(out))
    return time.monotonic() - begun


def seconds_of_mllib(path: Path, out: Path, asked: argparse.Namespace) -> float:
    begun = time.monotonic()
    model = ALSModel.load(f"file://{stage(path)}")
    if asked.mllib_customers < asked.customers:
        some = model.userFactors.select("id").where(F.col("id") < asked.mllib_customers)
        lists = model.recommendForUserSubset(some.withColumnRenamed("id", model.getUserCol()), asked.k)
    else:
        lists = model.recommendForAllUsers(asked.k)
    lists.write.parquet(str(out))
    return time.monotonic() - begun


def python_of_implicit(folder: Path) -> str:
    """The interpreter of an environment that holds the library, made where it is not there yet."""
    folder = folder / "venv-implicit"
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *IMPLICIT], check=True)
        (folder / "made").touch()
    return str(python)


def seconds_of_implicit(place: Path, path: Path, asked: argparse.Namespace) -> dict[str, float]:
    words = [
        "lists",
        str(stage(path)),
        str(place / "implicit.parquet"),
        "--k",
        str(asked.k),
        "--cores",
        str(asked.cores),
    ]
    # As its authors advise: its own threads, none of BLAS.
    command = ["env", "OPENBLAS_NUM_THREADS=1", python_of_implicit(asked.folder), str(HERE / "als_rivals.py"), *words]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def num_wrong(path: Path, out: Path, asked: argparse.Namespace) -> tuple[int, int]:
    """Of a sample of customers, how many lists are not what a product and a stable sort of it give."""
    users, items = (factors(stage(path) / f"{side}Factors") for side in ("user", "item"))
    sample = np.random.default_rng(1).choice(asked.customers, min(asked.oracle, asked.customers), replace=False)
    best = np.argsort(-(users[sample] @ items.T), axis=1, kind="stable")[:, : asked.k]
    rows = ds.dataset(out, format="parquet").to_table(columns=["customer_id", "rank", "item_index"])
    assert len(rows) == asked.customers * asked.k, f"{len(rows)} rows"
    numbers = np.array([int(name[1:]) for name in rows["customer_id"].to_pylist()])
    lists = np.empty((asked.customers, asked.k), np.int64)
    lists[numbers, rows["rank"].to_numpy() - 1] = rows["item_index"].to_numpy()
    return int((lists[sample] != best).any(axis=1).sum()), len(sample)


def factors(folder: Path) -> np.ndarray:
    rows = ds.dataset(folder, format="parquet").to_table().sort_by("id").combine_chunks()
    return rows["features"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1).astype(np.float64)


def compare(asked: argparse.Namespace, place: Path) -> None:
    sets = {
        "lakehouse.path": place / "lake",
        "spark.master": f"local[{asked.cores}]",
        "spark.driver_memory": asked.memory,
    }
    overrides = [COMPILED, *(f"{key}={value}" for key, value in sets.items())]
    settings = load_settings("demo", as_of=date(2026, 1, 1), overrides=overrides, conf_dir=str(ROOT / "conf"))
    spark = build_session(settings, app_name="bench_als")
    path = place / "model"
    interactions = saved_model(spark, path, asked)
    print(f"{asked.customers:,} customers, {asked.items:,} items, rank {asked.rank}, lists of {asked.k}", flush=True)
    ours = [seconds_of_ours(interactions, path, place / f"ours-{turn}", asked.k) for turn in range(asked.repeat)]
    wrong, sampled = num_wrong(path, place / "ours-0", asked)
    print(f"  {wrong} of {sampled:,} lists differ from a product and a full sort in NumPy")
    by_customer = min(ours) / asked.customers
    show("clm", ours, by_customer, asked.customers)
    rival = [seconds_of_implicit(place, path, asked) for _ in range(asked.repeat)]
    show("implicit", [each["seconds"] for each in rival], by_customer, asked.customers)
    show("  its topk", [each["of which topk"] for each in rival], by_customer, asked.customers)
    num = min(asked.mllib_customers, asked.customers)
    show("mllib", [seconds_of_mllib(path, place / "mllib", asked)], by_customer, num)
    spark.stop()


def show(name: str, seconds: list[float], ours: float, num: int) -> None:
    each, turns = min(seconds) / num, " ".join(f"{turn:.1f}" for turn in seconds)
    print(
        f"  {name:11}{num:>9,} customers {turns:>16} s{each * 1e6:>8.0f} us each, {each / ours:>5.1f} times clm",
        flush=True,
    )


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--customers", type=int, default=138_000)
    ask.add_argument("--items", type=int, default=20_000)
    ask.add_argument("--rank", type=int, default=64)
    ask.add_argument("--k", type=int, default=20)
    ask.add_argument("--mllib-customers", type=int, default=138_000)
    ask.add_argument("--oracle", type=int, default=2_000, help="customers whose lists are checked")
    ask.add_argument("--repeat", type=int, default=2)
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--memory", default="6g", help="the JVM's heap")
    ask.add_argument("--folder", help="keeps the environment of implicit; default: a folder that goes with the run")
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        asked.folder = Path(asked.folder or temporary).absolute()
        compare(asked, Path(temporary))


if __name__ == "__main__":
    main()
