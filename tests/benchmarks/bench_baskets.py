"""The ranker on a data set that papers report: Ta-Feng's last baskets, all items ranked.

`python tests/benchmarks/bench_baskets.py --folder tafeng` reads the baskets as "A Next Basket Recommendation Reality
Check" (Li, Jullien, Ariannezhad and de Rijke 2023) cut them, and holds the frequency rules, TIFU-KNN's vectors, user
neighbours and the ranker against every customer's last basket, with that paper's metrics: NDCG's ideal list is not cut.
The ranker learns from each customer's last known baskets: for it a morning is before such a basket, and days are baskets.
Without the folder nothing is done.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from ta_feng import FILE, FOLDER, LONGEST, baskets_of, rule_lists

from clm_spark.evaluation.bootstrap import intervals, paired_difference
from clm_spark.evaluation.ranking import customer_ranking, mean_figures, ranking_metrics
from clm_spark.evaluation.samples import sampled_means
from clm_spark.models.catalogue import load_settings
from clm_spark.models.comparison import stacked
from clm_spark.models.ranker.alike import by_scores
from clm_spark.models.ranker.candidates import FEATURES, NEAREST, NEIGHBOURS, TASTES, Asked
from clm_spark.models.ranker.learned import Scorer, examples_of, knowledge_at, ranked
from clm_spark.models.ranker.model import by_trees, fit_ranker
from clm_spark.models.ranker.settings import CandidateSettings, RankerSettings
from clm_spark.session import build_session

RECENT_BASKETS = 3
DECIDES = "recall_at_10"


def histories_of(spark: SparkSession, known: list[list[list[int]]], taken: list[list[int]]) -> DataFrame:
    """A row per customer, as the ranker asks for; the age of a basket is how many there are from it on."""
    ages = [[len(of) - place for place, basket in enumerate(of) for _ in basket] for of in known]
    ones = pa.array([[1.0] * len(each) for each in ages], pa.list_(pa.float32()))
    rows = pa.table(
        {
            "customer_id": [str(number) for number in range(len(known))],
            "customer_key": pa.array(range(len(known)), pa.int64()),
            "items": pa.array([[item for basket in of for item in basket] for of in known], pa.list_(pa.int32())),
            "ages": pa.array(ages, pa.list_(pa.int32())),
            "units": ones,
            "spent": ones,
            "looks": pa.array([[0.0] * len(each) for each in ages], pa.list_(pa.float32())),
            "taken": pa.array(taken, pa.list_(pa.int32())),
        }
    )
    return spark.createDataFrame(rows).repartition(8, "customer_key").persist()


def as_rows(spark: SparkSession, lists: list[list[int]]) -> DataFrame:
    sizes = [len(each) for each in lists]
    rows = pa.table(
        {
            "customer_id": [str(number) for number, size in enumerate(sizes) for _ in range(size)],
            "rank": pa.array([place for size in sizes for place in range(1, size + 1)], pa.int32()),
            "item_id": [str(item) for each in lists for item in each],
        }
    )
    return spark.createDataFrame(rows)


def model_lists(
    spark: SparkSession,
    known: list[list[list[int]]],
    last: list[list[int]],
    *,
    candidates: CandidateSettings,
    ranker: RankerSettings,
) -> dict[str, DataFrame]:
    """The lists of neighbours and ranker for the last baskets."""
    num_items = 1 + max(item for baskets in (*known, last) for basket in baskets for item in basket)
    no_categories, asked = np.zeros(num_items, np.int64), Asked(candidates, RECENT_BASKETS)
    context, examples = spark.sparkContext, []
    for back in range(1, ranker.panels + 1):
        earlier = [of[:-back] for of in known]  # everybody has two known baskets or more
        histories = histories_of(spark, earlier, [of[-back] for of in known]).where(F.size("items") > 0)
        facts = context.broadcast(knowledge_at(histories, no_categories, asked))
        examples.append(examples_of(histories, facts, asked, ranker).withColumn("as_of", F.lit(-back)))
    rows = examples[0]
    for more in examples[1:]:
        rows = rows.unionByName(more)
    started = time.perf_counter()
    trees = bytes(fit_ranker(rows, ranker).get_booster().save_raw("ubj"))
    print(f"the ranker learned in {time.perf_counter() - started:.0f} s from {len(FEATURES)} features", flush=True)
    histories = histories_of(spark, known, last)
    facts = context.broadcast(knowledge_at(histories, no_categories, asked))
    scorers: dict[str, Scorer] = {
        "TIFU-KNN's neighbours": lambda: by_scores(lambda block: block.score(NEAREST), LONGEST, ""),
        "user neighbours": lambda: by_scores(lambda block: block.score(NEIGHBOURS), LONGEST, ""),
        "SVD": lambda: by_scores(lambda block: block.score(TASTES), LONGEST, ""),
        "ranker": lambda: by_trees(trees),
    }
    return {
        name: ranked(histories, facts, asked, scorer=scorer, top_k=LONGEST).select(
            "customer_id", "rank", F.col("item_index").cast("string").alias("item_id")
        )
        for name, scorer in scorers.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="Ta-Feng's baskets.tsv.gz lies in it")
    parser.add_argument(
        "--panels", type=int, default=2, help="known baskets of each customer that the ranker learns from"
    )
    asked = parser.parse_args()
    if not (asked.folder / FILE).exists():
        print(f"{asked.folder} has no {FILE}: nothing is compared")
        return
    settings = load_settings("local", as_of="2024-01-01")
    spark = build_session(settings, app_name="bench-baskets")
    known, last = baskets_of(asked.folder)
    lists = {name: as_rows(spark, rows) for name, rows in rule_lists(known).items()}
    candidates = settings.of(CandidateSettings).model_copy(update={"reference_customers": len(known)})
    ranker = settings.of(RankerSettings).model_copy(update={"panels": asked.panels})
    lists |= model_lists(spark, known, last, candidates=candidates, ranker=ranker)
    truth = as_rows(spark, last).select("customer_id", "item_id")
    measured = customer_ranking(stacked(lists), truth, models=list(lists), is_ideal_cut=False).persist()
    figures = {(row.model, row.metric): row.value for row in mean_figures(measured).collect()}
    sample = sampled_means(measured, seed=7)
    bounds = intervals(sample, list(ranking_metrics()), replicates=1000, seed=7, points=figures)
    for name in lists:
        told = (f"{m} {figures[name, m]:.4f}" for m in ranking_metrics())
        low, high = bounds[name, DECIDES].low, bounds[name, DECIDES].high
        print(f"{name:22} {'  '.join(told)}  ({DECIDES} {low:.4f} to {high:.4f})", flush=True)
    best = max((name for name in lists if name != "ranker"), key=lambda name: figures[name, DECIDES])
    lead = paired_difference(sample, DECIDES, of="ranker", against=best, replicates=1000, seed=7, points=figures)
    print(f"the ranker is ahead of {best} by {lead.point:.4f} ({lead.low:.4f} to {lead.high:.4f}) in {DECIDES}")


if __name__ == "__main__":
    main()
