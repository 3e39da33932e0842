"""Fit the laws of purchases and say what each customer will bring: here, by `lifetimes`, by `pymc-marketing`'s MAP fit.

`python tests/benchmarks/bench_value.py --customers 1e4 1e5 1e6 1e7`. Customers are drawn by a known law; each contestant runs in a
process of its own, over the same file, and a size that one does not survive (time, memory) it is not asked to exceed. Ours
does more: covariances, intervals, lifetime value. The rivals need virtual environments of their own, made in --folder.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from bench_ingest import COMPILED, GIB, ROOT, Took, measured

HERE = Path(__file__).parent
RIVALS = {  # what pip is asked for
    "lifetimes": ("lifetimes==0.11.3", "numpy<2", "scipy<1.14", "pandas<2.2", "pyarrow<18"),
    "pymc": ("pymc-marketing", "pyarrow"),
}
AT_ONCE = 1_000_000
AS_OF = date(2026, 1, 1)
TRUE = {"r": 0.8, "alpha": 5.0, "a": 1.0, "b": 4.0, "p": 4.0, "q": 4.0, "v": 1500.0}


def draw(place: Path, num: int) -> Path:
    """A folder of Parquet files of a million customers each: histories, and the features that ours reads."""
    folder = place / f"{num}"
    if not (folder / "_SUCCESS").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for part, begins in enumerate(range(0, num, AT_ONCE)):
            customers(min(AT_ONCE, num - begins), begins, seed=part).to_parquet(
                folder / f"part-{part:03}.parquet", row_group_size=100_000
            )
        (folder / "_SUCCESS").touch()
    return folder


def customers(num: int, begins: int, *, seed: int) -> pd.DataFrame:
    """Drawn as BG/NBD and Gamma-Gamma say, first seen on a day of two years; a second order of a day is none."""
    drawn, law = np.random.default_rng(seed), TRUE
    age = np.ceil(drawn.uniform(0, 730, num))
    rate, leaves = drawn.gamma(law["r"], 1 / law["alpha"] / 7, num), drawn.beta(law["a"], law["b"], num)
    scale = 1 / drawn.gamma(law["q"], 1 / law["v"], num)
    at, here, days = np.zeros(num), np.arange(num), np.ones(num)
    last, cents = np.zeros(num), drawn.gamma(law["p"], scale)
    while len(here):
        at[here] += drawn.exponential(1 / rate[here])
        here = here[at[here] < age[here]]
        is_new = np.floor(at[here]) > last[here]
        new = here[is_new]
        days[new] += 1
        last[new] = np.floor(at[new])
        cents[new] += drawn.gamma(law["p"], scale[new])
        here = here[~is_new | (drawn.random(len(here)) > leaves[here])]
    whole = {"num_purchase_days": days, "first_purchase_days": age, "purchase_recency_days": age - last,
             "net_revenue_cents": np.ceil(cents)}  # fmt: skip
    rows = pd.DataFrame({name: column.astype(np.int64) for name, column in whole.items()})
    recent = rows["purchase_recency_days"] <= 30
    return rows.assign(
        customer_id=[f"c{number:08}" for number in range(begins, begins + num)], as_of=AS_OF,
        num_orders_30d=recent.astype(np.int64), num_orders_60d=(rows["purchase_recency_days"] <= 60) + recent * 1,
        repeats=days - 1, last_weeks=last / 7, age_weeks=age / 7, orders=days,
        mean_cents=rows["net_revenue_cents"] / days,
    )  # fmt: skip


def ours(file: str, out: str, *, memory: str, cores: int) -> None:
    """Fit and score as the jobs do, from Parquet in the place of a table."""
    from clm_spark.models.task import Inputs
    from clm_spark.models.value.law import fit_law
    from clm_spark.models.value.model import by_law
    from clm_spark.session import build_session
    from clm_spark.settings import load_settings
    from clm_spark.tables.lake import Lake

    sets = {"lakehouse.path": f"{out}-lake", "spark.master": f"local[{cores}]", "spark.driver_memory": memory}
    overrides = [COMPILED, *(f"{key}={value}" for key, value in sets.items())]
    settings = load_settings("demo", as_of=AS_OF, overrides=overrides, conf_dir=str(ROOT / "conf"))
    spark = build_session(settings, app_name="bench_value")
    begun = time.monotonic()
    features = spark.read.parquet(file)
    law = fit_law(features, min_repeat_customers=10)
    fitted = time.monotonic()
    by_law(law, Inputs(Lake(spark, settings), AS_OF, features)).write.mode("overwrite").parquet(out)
    ended = time.monotonic()
    found = spark.read.parquet(out).selectExpr("sum(value)").head()
    names = {**vars(law.purchases), **(vars(law.spend) if law.spend else {})}
    print(
        json.dumps(
            {"parameters": names, "fit_seconds": fitted - begun, "score_seconds": ended - fitted, "sum": found[0]}
        )
    )
    spark.stop()


def python_of(rival: str, place: Path) -> str | None:
    """The interpreter of the rival's environment, made where it is not there yet; None where that fails."""
    folder = place / f"venv-{rival}"
    python = folder / "bin" / "python"
    try:
        if not (folder / "made").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *RIVALS[rival]], check=True, capture_output=True)
            (folder / "made").touch()
    except subprocess.CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        print(f"{rival} could not be installed: {said[-1] if said else error}", flush=True)
        return None
    return str(python)


def run(engine: str, folder: Path, place: Path, asked: argparse.Namespace) -> tuple[Took, dict[str, object]] | str:
    """What it cost and what it found, or why it did not end."""
    out, log = place / f"{engine}.out", place / f"{engine}.log"
    if engine == "clm":
        own = ["--ours", str(folder), str(out), "--memory", asked.memory, "--cores", str(asked.cores)]
        command = [sys.executable, __file__, *own]
    else:
        python = python_of(engine, place)
        if python is None:
            return "not installed"
        command = [python, str(HERE / "value_rivals.py"), engine, str(folder), f"{out}.parquet"]
    try:
        took = measured(["timeout", str(asked.limit), *command], log, path=[HERE])
    except SystemExit as error:
        last = [line for line in str(error).splitlines() if line.strip()]
        return f"did not end: {last[-1] if len(last) > 1 else f'after {asked.limit} s, or killed for its memory'}"
    found = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("{")]
    return took, json.loads(found[-1])


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--customers", type=float, nargs="+", default=[1e4, 1e5, 1e6, 1e7])
    ask.add_argument("--engines", nargs="+", default=["clm", *RIVALS])
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--memory", default="6g", help="the JVM's heap")
    ask.add_argument("--limit", type=int, default=3600, help="seconds that one run may take")
    ask.add_argument("--folder", help="keeps customers and environments; default: a folder that goes with the run")
    ask.add_argument("--ours", nargs=2, metavar=("FILE", "OUT"), help=argparse.SUPPRESS)
    asked = ask.parse_args()
    if asked.ours:
        ours(*asked.ours, memory=asked.memory, cores=asked.cores)
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(asked.folder or temporary).absolute()
        place.mkdir(exist_ok=True, parents=True)
        given_up: dict[str, str] = {}
        print(f"true parameters: {TRUE}")
        for num in map(int, asked.customers):
            folder = draw(place, num)
            print(
                f"\n{num:,} customers\n  {'':10}{'whole s':>9}{'CPU s':>9}{'fit s':>9}{'score s':>9}{'peak GiB':>10}{'sum of values':>16}  parameters"
            )
            for engine in (each for each in asked.engines if each not in given_up):
                done = run(engine, folder, place, asked)
                if isinstance(done, str):
                    given_up[engine] = done
                    print(f"  {engine:10}{done}", flush=True)
                    continue
                took, found = done
                parameters = " ".join(f"{name} {value:.4g}" for name, value in found["parameters"].items())
                print(
                    f"  {engine:10}{took.seconds:>9.1f}{took.cpu_seconds:>9.1f}{found['fit_seconds']:>9.1f}{found['score_seconds']:>9.1f}"
                    f"{took.peak_bytes / GIB:>10.1f}{found['sum']:>16,.0f}  {parameters}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
