"""How near to the truth churn is predicted in the synthetic shop, whose laws are known.

`python tests/benchmarks/bench_churn.py --customers 4000 --days 365` draws the shop, takes it through the jobs up to
`train_churn` and compares, on the tested customers, the AUC of every entrant with that of the recency rule and with that
of the true probability: BG/NBD with each customer's own rate, chance of leaving and response to campaigns, and the whole
past known. No model can know more; 100 % of the distance is the law itself. `--place FOLDER` keeps the lakehouse.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from demo_lakehouse import demo_lakehouse
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

from clm_spark.demo.parameters import Shop
from clm_spark.demo.people import ANNOYANCE
from clm_spark.demo.seasons import seasons_of
from clm_spark.job import log_to_console
from clm_spark.keys import pseudonym_key
from clm_spark.models.churn import Churn, ChurnSettings
from clm_spark.privacy.pseudonyms import pseudonym
from clm_spark.tables.catalog import CUSTOMER_DAYS, MODEL_METRICS
from clm_spark.tables.lake import Lake

NEEDED = ("ingest_events", "stitch_identities", "build_features", "train_churn")


def tested_customers(lake: Lake, truth: DataFrame) -> pd.DataFrame:
    """A row per tested customer: what came, and what the law needs to know of the past and of the customer."""
    with Churn().split(lake) as split:
        named = pseudonym(F.col("customer_id"), key=pseudonym_key(lake.settings))
        laws = truth.withColumn("customer_id", named).select(
            "customer_id", "joined_at", "visits_per_day", "dropout_chance", "response"
        )
        seen = lake.read_as_of(CUSTOMER_DAYS, split.tested_on).where("num_visits > 0 AND num_views > 0")
        last_seen = seen.groupBy("customer_id").agg(F.max("day_on").alias("seen_on"))
        past = split.test.rows.select("customer_id", "purchase_recency_days", "num_purchase_days")
        rows = past.join(split.truth.select("customer_id", "is_positive"), on="customer_id").join(
            laws, on="customer_id"
        )
        # A few thousand customers.
        known = rows.join(last_seen, on="customer_id", how="left").toPandas()
    return known.assign(tested_on=split.tested_on)


def true_probability(known: pd.DataFrame, shop: Shop, *, horizon_days: int) -> np.ndarray:
    """The chance that a customer buys nothing in the horizon, from the laws that the customer was drawn from.

    Whoever was seen after the last purchase is there. Otherwise the customer left at it with the chance of leaving, or
    is there and was silent for as long. Who is there buys by a Poisson process in seasonal time; of the campaigns to
    come, which half of the customers are sent, only the mean effect is known.
    """
    laws, seasons = shop.parameters, seasons_of(shop)
    today = (pd.to_datetime(known.tested_on) - pd.Timestamp(shop.start_on)).dt.days.to_numpy(dtype=float)
    bought = today - known.purchase_recency_days.to_numpy(dtype=float)
    seen = (pd.to_datetime(known.seen_on) - pd.Timestamp(shop.start_on)).dt.days.fillna(-1).to_numpy(dtype=float)
    silence = seasons.passed(today) - seasons.passed(np.minimum(bought + 0.6, today))
    stayed = (1 - known.dropout_chance) * np.exp(-known.visits_per_day * silence)
    may_have_left = (known.joined_at < pd.Timestamp(shop.start_on)) | (known.num_purchase_days > 1)
    is_there = np.where((seen > bought) | ~may_have_left, 1.0, stayed / (known.dropout_chance + stayed))
    effect = known.response.map({"indifferent": 0.0, "responder": 1.0, "annoyed": -ANNOYANCE}).to_numpy()
    running = laws.treated_share * laws.campaign_days / laws.campaign_every_days
    buys = laws.buy_share * (1 + running * effect * (laws.uplift_from + laws.uplift_to) / 2)
    ahead = seasons.passed(today + horizon_days) - seasons.passed(today)
    return np.asarray(1 - is_there * (1 - np.exp(-known.visits_per_day * buys * ahead)))


def show(lake: Lake, known: pd.DataFrame, shop: Shop) -> None:
    horizon_days = lake.settings.of(ChurnSettings).horizon_days
    truth = true_probability(known, shop, horizon_days=horizon_days)
    law = roc_auc_score(known.is_positive, truth)
    draws = np.random.default_rng(1)
    spread = [
        roc_auc_score(known.is_positive[drawn], truth[drawn])
        for drawn in (draws.integers(len(known), size=len(known)) for _ in range(500))
    ]
    low, high = np.quantile(spread, (0.025, 0.975))
    print(f"{len(known)} customers tested from {known.tested_on[0]} on, {known.is_positive.mean():.1%} left")
    print(f"the law: AUC {law:.4f} ({low:.4f} to {high:.4f}), mean probability {truth.mean():.1%}")
    rows = lake.read_as_of(MODEL_METRICS).where("task = 'churn' AND metric = 'auc'").collect()
    rule = next(row.value for row in rows if row.model == "recency_rule")
    for row in sorted(rows, key=lambda row: row.value):
        share = (row.value - rule) / (law - rule)
        served = ", served" if row.is_champion else ""
        print(f"{row.model:22} AUC {row.value:.4f} ({row.low:.4f} to {row.high:.4f}), {share:6.1%} of the way{served}")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--customers", type=int, default=4000)
    ask.add_argument("--days", type=int, default=365)
    ask.add_argument("--place", type=Path, help="keep the lakehouse here, and use it again")
    ask.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    asked = ask.parse_args()
    log_to_console()
    with tempfile.TemporaryDirectory() as temporary:
        place = asked.place or Path(temporary)
        lake = demo_lakehouse(
            place,
            customers=asked.customers,
            days=asked.days,
            jobs=NEEDED,
            overrides=asked.overrides,
            app_name="bench_churn",
        )
        shop = Shop.model_validate(json.loads((place / "shop" / "parameters.json").read_text()))
        show(lake, tested_customers(lake, lake.spark.read.parquet(str(place / "shop" / "truth" / "customers"))), shop)
        lake.spark.stop()


if __name__ == "__main__":
    main()
