"""How near to the truth lists are in the synthetic shop, whose laws are known.

`python tests/benchmarks/bench_lists.py --customers 4000 --days 365` draws the shop, takes it through the jobs up to
`train_recommenders` and compares, on the tested customers, the NDCG@10 of every entrant with that of items ranked by the
true number of purchases to expect: each customer's own tastes and dislike of high prices, and every item's popularity in
the months tested. No list can expect more. `--place FOLDER` keeps the lakehouse.
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

from clm_spark.demo.catalogue import Items, items_of
from clm_spark.demo.parameters import Shop
from clm_spark.demo.seasons import seasons_of
from clm_spark.evaluation.bootstrap import intervals
from clm_spark.evaluation.ranking import customer_ranking, mean_figures
from clm_spark.evaluation.samples import sampled_means
from clm_spark.job import log_to_console
from clm_spark.keys import pseudonym_key
from clm_spark.models.recommendation import Recommendation
from clm_spark.privacy.pseudonyms import pseudonym
from clm_spark.tables.catalog import MODEL_METRICS
from clm_spark.tables.lake import Lake

NEEDED = ("ingest_events", "stitch_identities", "build_item_features", "build_interactions", "train_recommenders")
LENGTH = 20


def true_lists(people: pd.DataFrame, shop: Shop, *, days: range) -> pd.DataFrame:
    """The `LENGTH` items that each customer is to buy most of, by the laws that the shop was drawn from.

    A visit that buys ends with an item by taste and popularity; each look before it may add a line, if the customer likes
    the price. How often a customer comes moves all items alike.
    """
    laws, items, seasons = shop.parameters, items_of(shop), seasons_of(shop)
    month = seasons.month(np.asarray(days, dtype=float))
    seasonal = np.mean([of_month(items, int(number)) for number in month], axis=0)
    taste = np.stack(people.taste.to_numpy())[:, items.category]
    liked = items.relative_price[None, :] ** -people.price_sensitivity.to_numpy()[:, None]
    extra = (laws.looks_per_visit - 1) * laws.extra_line_share * np.minimum(1, laws.view_share * liked)
    expected = taste * seasonal * (1 + extra)
    best = np.argsort(-expected, axis=1, kind="stable")[:, :LENGTH]
    names = items.item_id.to_numpy(zero_copy_only=False)
    return pd.DataFrame(
        {
            "customer_id": np.repeat(people.customer_id.to_numpy(), LENGTH),
            "rank": np.tile(np.arange(1, LENGTH + 1), len(people)),
            "item_id": names[best].ravel(),
        }
    )


def of_month(items: Items, month: int) -> np.ndarray:
    """Each item's share of its category in that month, times how the month favours the category."""
    start = month * len(items.category)
    chances = np.diff(items.chance_up_to[start : start + len(items.category)], prepend=month)
    of_category = np.add.reduceat(chances, items.first_of_category[:-1])
    return chances / of_category[items.category] * items.category_season[month][items.category]


def oracle(lake: Lake, truth_of_customers: DataFrame, shop: Shop) -> tuple[float, float, float]:
    """NDCG@10 of the true lists on the tested customers, with its interval."""
    with Recommendation().split(lake) as split:
        named = pseudonym(F.col("customer_id"), key=pseudonym_key(lake.settings))
        tested = split.truth.select("customer_id").distinct()
        laws = truth_of_customers.withColumn("customer_id", named).join(tested, on="customer_id")
        people = laws.select("customer_id", "taste", "price_sensitivity").toPandas()  # a few thousand customers
        first = (split.tested_on - shop.start_on).days
        lists = lake.spark.createDataFrame(true_lists(people, shop, days=range(first, shop.days)))
        ranked = lists.select(F.lit("law").alias("model"), "customer_id", F.col("rank").cast("int"), "item_id")
        measured = customer_ranking(ranked, split.truth, models=["law"]).persist()
        (point,) = mean_figures(measured).where("metric = 'ndcg_at_10'").collect()
        sample = sampled_means(measured, seed=7, most=lake.settings.evaluation.max_customers)
        found = intervals(sample, ["ndcg_at_10"], replicates=lake.settings.evaluation.replicates, seed=7)
    bounds = found["law", "ndcg_at_10"]
    return point.value, bounds.low, bounds.high


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--customers", type=int, default=4000)
    ask.add_argument("--days", type=int, default=365)
    ask.add_argument("--seed", type=int, default=1, help="of the shop that is drawn")
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
            app_name="bench_lists",
            seed=asked.seed,
        )
        shop = Shop.model_validate(json.loads((place / "shop" / "parameters.json").read_text()))
        law, low, high = oracle(lake, lake.spark.read.parquet(str(place / "shop" / "truth" / "customers")), shop)
        rows = lake.read_as_of(MODEL_METRICS).where("task = 'recommendation' AND metric = 'ndcg_at_10'").collect()
        print(f"{rows[0].num_tested} customers tested; the law: NDCG@10 {law:.4f} ({low:.4f} to {high:.4f})")
        for row in sorted(rows, key=lambda row: row.value):
            behind = (
                "served"
                if row.is_champion
                else f"{row.behind:.4f} ({row.behind_low:.4f} to {row.behind_high:.4f}) behind it"
            )
            print(f"{row.model:18} {row.value:.4f} ({row.low:.4f} to {row.high:.4f}), {row.value / law:6.1%}, {behind}")
        lake.spark.stop()


if __name__ == "__main__":
    main()
