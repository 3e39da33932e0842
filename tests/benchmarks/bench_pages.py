"""Hold the lists of category and product pages against what was bought next, in the lakehouse that `make run` leaves.

Lists as of --as-of, purchases of the `recommend.test_days` from then on, which must lie in the log. A page of a category is
one customer's and measured by NDCG@10 of what the customer bought of the category; a page of a product is an item of a
basket, and a hit where another item of the basket is among the ten beside it. Means over customers, whose pages count
alike, and intervals of the lead over the first row by bootstrap over customers.
"""

import argparse
from collections.abc import Mapping
from datetime import timedelta

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from clm_spark.evaluation.bootstrap import resampled
from clm_spark.events.identity.persons import known_persons
from clm_spark.features.neighbours import baskets_from_days, item_neighbours
from clm_spark.models.catalogue import load_settings
from clm_spark.models.category_rankings import (
    category_rankings,
    exposure_by_segment,
    purchases_by_segment,
    with_segment,
)
from clm_spark.session import build_session, persisted
from clm_spark.settings import RankingSettings
from clm_spark.tables.catalog import CUSTOMER_FEATURES, CUSTOMER_ITEM_DAYS, ITEM_VOCABULARY, SEGMENTS
from clm_spark.tables.lake import Lake

SHOWN, REPLICATES, SEED = 10, 1000, 7
NO_DECAY = {"half_life_days": 1e9}
RANKINGS = {
    "popularity": {"window_days": 10_000, **NO_DECAY},
    "popularity of 28 days": {"window_days": 28, **NO_DECAY},
    "as set": {},
    "half-life of 28 days": {"half_life_days": 28},
    "half-life of 112 days": {"half_life_days": 112},
}
NEIGHBOURS = (
    ("num_days", 5),
    ("num_days", 2),
    ("cosine", 5),
    ("cosine", 2),
    ("lift", 5),
    ("lift", 2),
)  # ranked by, fewest customers
GAINS = 1 / np.log2(np.arange(2, SHOWN + 2))


def category_pages(lake: Lake) -> None:
    """Print how well each ranking does."""
    settings, vocabulary = lake.settings, lake.read_as_of(ITEM_VOCABULARY)
    customers = with_segment(lake.read_as_of(CUSTOMER_FEATURES), lake.read_as_of(SEGMENTS))
    truth = bought_after(lake, customers, vocabulary)
    figures = {}
    for name, changes in RANKINGS.items():
        asked = RankingSettings(**{"top_k": 100_000, **changes})
        days, persons = lake.read(CUSTOMER_ITEM_DAYS), known_persons(lake, [settings.as_of])
        found = purchases_by_segment(days, customers, vocabulary, persons, as_of=settings.as_of, settings=asked)
        exposure, horizon = exposure_by_segment(customers, settings=asked), settings.recommend.test_days
        with persisted(found) as purchases:
            rows = category_rankings(
                purchases, exposure, as_of=settings.as_of, horizon_days=horizon, settings=asked
            ).toPandas()
        rows["category"] = rows["category"].fillna("")
        is_of_all = rows["segment"].isna()
        figures[f"{name}, all customers"] = ndcg(rows[is_of_all], truth, by=["category"])
        figures[f"{name}, by segment"] = ndcg(rows[~is_of_all], truth, by=["category", "segment"])
        if not changes:
            expected_against_bought(rows, truth, customers.groupBy("segment").count().toPandas())
    table("category pages, NDCG@10", figures)


def bought_after(lake, customers, vocabulary) -> pd.DataFrame:
    """One row per customer, item and day of the days that follow."""
    until = lake.settings.as_of + timedelta(days=lake.settings.recommend.test_days)
    days = lake.read_as_of(CUSTOMER_ITEM_DAYS, until).where(F.col("day_on") >= F.lit(lake.settings.as_of))
    bought = days.where("num_lines > 0").select("customer_id", "item_id")
    named = bought.join(vocabulary.select("item_id", "category"), on="item_id", how="inner")
    known = named.join(customers.select("customer_id", "segment"), on="customer_id", how="inner")
    rows = known.select("customer_id", "segment", "item_id", F.coalesce("category", F.lit("")).alias("category"))
    return rows.toPandas()


def ndcg(lists: pd.DataFrame, truth: pd.DataFrame, *, by: list[str]) -> pd.Series:
    """The mean over a customer's categories; every customer of `truth` has one."""
    taken = truth.drop_duplicates(["customer_id", "item_id"])
    shown = lists[lists["rank"] <= SHOWN][[*by, "item_id", "rank"]]
    hits = taken.merge(shown, on=[*by, "item_id"], how="left")
    hits["gain"] = hits["rank"].map(lambda rank: 0.0 if np.isnan(rank) else GAINS[int(rank) - 1])
    pages = hits.groupby(["customer_id", "category"]).agg(gain=("gain", "sum"), num=("item_id", "size"))
    ideal = np.cumsum(GAINS)[np.minimum(pages["num"], SHOWN) - 1]
    return (pages["gain"] / ideal).groupby("customer_id").mean()


def expected_against_bought(rows: pd.DataFrame, truth: pd.DataFrame, sizes: pd.DataFrame) -> None:
    """Print the purchases that are expected of each segment, and of all customers, beside those that came."""
    for segment, count in [*sizes.dropna().itertuples(index=False), (None, sizes["count"].sum())]:
        asked = rows["segment"].isna() if segment is None else rows["segment"] == segment
        came = truth if segment is None else truth[truth["segment"] == segment]
        expected = rows.loc[asked, "expected_purchases"].sum() * count
        name = "all customers" if segment is None else f"segment {int(segment)}"
        print(f"  {name}: {expected:,.0f} purchases expected, {len(came):,} came", flush=True)


def product_pages(lake: Lake) -> None:
    """Print how well each order of the neighbours does."""
    settings, vocabulary = lake.settings, lake.read_as_of(ITEM_VOCABULARY)
    test_days = settings.recommend.test_days
    fewest = min(num for _, num in NEIGHBOURS)
    past, after = (
        baskets_from_days(
            lake.read(CUSTOMER_ITEM_DAYS), vocabulary, known_persons(lake, [day]),
            as_of=day, window_days=window_days, max_items=settings.neighbours.max_items_per_day,
        )
        for day, window_days in (
            (settings.as_of, settings.neighbours.window_days), (settings.as_of + timedelta(days=test_days), test_days),
        )
    )  # fmt: skip
    with persisted(past) as baskets:
        found = item_neighbours(baskets, vocabulary, top_k=100_000, min_customers=fewest, order="cosine")
        pairs = found.where("relation = 'co_bought'").drop("relation", "as_of", "rank").toPandas()
    named = (
        after.where("relation = 'co_bought'")
        .select("customer_id", F.posexplode("baskets").alias("place", "items"))
        .select(
            "customer_id",
            F.concat_ws(" ", "customer_id", "place").alias("basket"),
            F.explode("items").alias("item_index"),
        )
    )
    bought = named.join(vocabulary.select("item_index", "item_id"), on="item_index", how="inner").toPandas()
    pages = bought.merge(bought[["basket", "item_id"]], on="basket", suffixes=("", "_of_basket"))
    pages = pages[pages["item_id"] != pages["item_id_of_basket"]]
    figures = {}
    for by, num in NEIGHBOURS:
        shown = shown_beside(pairs, by, num)
        num_different = shown["neighbour_item_id"].nunique()
        figures[f"{by}, from {num} customers on: {num_different:,} items"] = hit_rate(pages, shown)
    table("product pages, hit rate@10 and how many different items are shown", figures)


def shown_beside(pairs: pd.DataFrame, by: str, min_customers: int) -> pd.DataFrame:
    """The first neighbours of every item."""
    ordered = pairs[pairs["num_customers"] >= min_customers].sort_values(
        [by, "num_days", "neighbour_item_id"], ascending=[False, False, True]
    )
    return ordered.groupby("item_id").head(SHOWN)[["item_id", "neighbour_item_id"]]


def hit_rate(pages: pd.DataFrame, shown: pd.DataFrame) -> pd.Series:
    """Per customer, the share of items of baskets beside which another of the basket would have been shown."""
    pair, in_basket = ["item_id", "neighbour_item_id"], ["item_id", "item_id_of_basket"]
    seen = pages.merge(shown.assign(is_hit=True), left_on=in_basket, right_on=pair, how="left")
    hit = seen.assign(is_hit=seen["is_hit"].notna()).groupby(["customer_id", "basket", "item_id"])["is_hit"].any()
    return hit.groupby("customer_id").mean()


def table(title: str, figures: Mapping[str, pd.Series]) -> None:
    """Means over customers, and by how much each is ahead of the first."""
    of_customers = pd.DataFrame(figures)
    draws = np.stack(list(resampled(len(of_customers), replicates=REPLICATES, seed=SEED)))
    first = of_customers.iloc[:, 0]
    print(f"\n{title}, {len(of_customers):,} customers")
    for name, values in of_customers.items():
        lead = (values - first).to_numpy()
        low, high = np.quantile(draws @ lead / len(lead), [0.025, 0.975])
        print(f"  {name:48}{values.mean():8.4f}  lead {lead.mean():+.4f} ({low:+.4f} to {high:+.4f})", flush=True)


PAGES = {"category": category_pages, "product": product_pages}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--as-of", default="2017-10-01")
    ask.add_argument("--pages", nargs="+", choices=PAGES, default=list(PAGES))
    ask.add_argument("--profile", default="local")
    ask.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = ask.parse_args()
    settings = load_settings(asked.profile, as_of=asked.as_of, overrides=asked.set)
    lake = Lake(build_session(settings, app_name="bench_pages"), settings)
    with lake.in_shops_zone():
        for name in asked.pages:
            PAGES[name](lake)


if __name__ == "__main__":
    main()
