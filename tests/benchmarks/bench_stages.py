"""How right lifecycle stages are in the synthetic shop, whose customers' true drop-out is known.

`python tests/benchmarks/bench_stages.py --customers 4000 --days 365` draws the shop, runs the jobs up to `assign_stages` and
holds the last morning's stages against the truth, next to a rule with one limit for all that calls as many people silent.
"""

import argparse
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
from bench_ingest import clm, measured
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

from clm_spark.keys import pseudonym_key
from clm_spark.privacy.pseudonyms import pseudonym
from clm_spark.session import build_session
from clm_spark.settings import load_settings
from clm_spark.tables.catalog import LIFECYCLE_STAGES, SILENT_STAGES, STAGES
from clm_spark.tables.lake import Lake

START_ON = date(2024, 1, 1)  # of `clm demo`
JOBS = ("ingest_events", "build_features", "assign_stages")


def staged(place: Path, *, customers: int, days: int) -> tuple[Lake, DataFrame]:
    """The shop's lakehouse as of the morning after its last day, and its customers' truth."""
    shop, log = place / "shop", place / "said.log"
    as_of = str(date.fromordinal(START_ON.toordinal() + days))
    own = ["--profile", "demo", "--set", f"lakehouse.path={place / 'lakehouse'}"]
    words = ["demo", "--customers", str(customers), "--days", str(days), "--out", str(shop)]
    measured(clm(*words, "--set", f"lakehouse.path={place / 'own'}"), log)
    for job in JOBS:
        words = [
            "run",
            job,
            "--as-of",
            as_of,
            "--set",
            f"ingest.path={shop / 'log'}",
            "--set",
            "features.as_of_alone=true",
        ]
        measured(clm(*words, *own), log)
    settings = load_settings("demo", as_of=as_of, overrides=[f"lakehouse.path={place / 'lakehouse'}"])
    spark = build_session(settings, app_name="bench_stages")
    return Lake(spark, settings), spark.read.parquet(str(shop / "truth" / "customers"))


def held_against(lake: Lake, truth: DataFrame) -> DataFrame:
    """The stages of those who have bought, with `is_gone`, the true drop-out, and what a rule with one limit would say."""
    named = pseudonym(F.col("customer_id"), key=pseudonym_key(lake.settings))
    gone_on = truth.select(named.alias("customer_id"), F.to_date("dropped_out_at").alias("gone_on"))
    as_of = F.lit(lake.settings.as_of)
    rows = lake.read_as_of(LIFECYCLE_STAGES).where("last_purchase_on IS NOT NULL").join(gone_on, on="customer_id")
    by_silence = F.row_number().over(Window.orderBy("last_purchase_on", "customer_id"))  # a few thousand customers
    told = rows.withColumns(
        {
            "is_gone": F.coalesce(F.col("gone_on") < as_of, F.lit(False)),
            "is_silent": F.col("stage").isin(*SILENT_STAGES),
            "is_lapsed": F.col("stage").isin(*SILENT_STAGES[1:]),
        }
    )
    counts = told.agg(F.count_if("is_silent").alias("silent"), F.count_if("is_lapsed").alias("lapsed")).first()
    ranked = told.withColumn("_rank", by_silence)
    return ranked.withColumns(
        {"one_limit_silent": F.col("_rank") <= counts["silent"], "one_limit_lapsed": F.col("_rank") <= counts["lapsed"]}
    ).persist()


def show(rows: DataFrame) -> None:
    of_stage = {
        row["stage"]: row
        for row in rows.groupBy("stage").agg(F.count("*").alias("n"), F.count_if("is_gone").alias("gone")).collect()
    }
    print(f"\n{'stage':12}{'customers':>10}{'truly gone':>12}")
    for stage in (stage for stage in STAGES if stage in of_stage):
        row = of_stage[stage]
        print(f"{stage:12}{row['n']:>10}{row['gone'] / row['n']:>12.1%}")
    gone, here = F.count_if("is_gone"), F.count_if(~F.col("is_gone"))
    print(f"\n{'rule':34}{'customers':>10}{'of them gone':>14}{'of all gone':>13}{'false alarms':>14}")
    for words, flag in (
        ("at risk or worse, own rhythm", "is_silent"),
        ("as many, one limit for all", "one_limit_silent"),
        ("lapsed or lost, own rhythm", "is_lapsed"),
        ("as many, one limit for all", "one_limit_lapsed"),
    ):
        hit, false = F.count_if(F.col("is_gone") & F.col(flag)), F.count_if(~F.col("is_gone") & F.col(flag))
        n, right, found, alarms = rows.agg(F.count_if(flag), hit / F.count_if(flag), hit / gone, false / here).first()
        print(f"{words:34}{n:>10}{right:>14.1%}{found:>13.1%}{alarms:>14.1%}")
    late = [
        F.percentile_approx(F.date_diff(limit, "gone_on"), [0.25, 0.5, 0.75]) for limit in ("at_risk_on", "lapsed_on")
    ]
    at_risk, lapsed = rows.where("is_gone").agg(*late).first()
    for words, (low, middle, high) in (("at risk", at_risk), ("lapsed", lapsed)):
        print(f"days from the true drop-out to {words}: median {middle}, half of them {low} to {high}")


def show_ranking(rows: DataFrame, *, replicates: int = 1000) -> None:
    """AUC of the silence over each customer's own limit, and of the silence alone, with a paired bootstrap."""
    silence, limit = F.date_diff("as_of", "last_purchase_on"), F.date_diff("lapsed_on", "last_purchase_on")
    told = rows.select("is_gone", silence.alias("silence"), (silence / limit).alias("by_own")).toPandas()
    draws, leads = np.random.default_rng(1), []
    for _ in range(replicates):
        drawn = told.iloc[draws.integers(len(told), size=len(told))]
        leads.append(roc_auc_score(drawn.is_gone, drawn.by_own) - roc_auc_score(drawn.is_gone, drawn.silence))
    low, high = np.quantile(leads, (0.025, 0.975))
    own, alone = (roc_auc_score(told.is_gone, told[name]) for name in ("by_own", "silence"))
    print(
        f"AUC: silence over own limit {own:.3f}, silence alone {alone:.3f}, lead {own - alone:.3f} ({low:.3f} to {high:.3f})"
    )


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--customers", type=int, default=4000)
    ask.add_argument("--days", type=int, default=365)
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lake, truth = staged(Path(temporary), customers=asked.customers, days=asked.days)
        rows = held_against(lake, truth)
        show(rows)
        show_ranking(rows)
        lake.spark.stop()


if __name__ == "__main__":
    main()
