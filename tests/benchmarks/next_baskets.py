"""What the benchmarks of next baskets and next items share: histories as the ranker takes them, lists, figures."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.draws import drawn
from clm_spark.evaluation.bootstrap import intervals, paired_differences
from clm_spark.evaluation.ranking import customer_ranking, mean_figures, ranking_metrics
from clm_spark.evaluation.samples import sampled_means
from clm_spark.models.comparison import stacked
from clm_spark.models.ranker.alike import by_scores
from clm_spark.models.ranker.features import features_with
from clm_spark.models.ranker.learned import Scorer, examples_of, knowledge_at, ranked
from clm_spark.models.ranker.model import by_trees, fit_ranker
from clm_spark.models.ranker.settings import CandidateSettings, RankerSettings
from clm_spark.models.ranker.sources import CandidateOptions

Baskets = list[list[int]]
LONGEST = 20
RECENT_BASKETS = 3


def histories_of(
    spark: SparkSession, known: Sequence[Baskets], taken: Sequence[list[int]], *, first_key: int = 0
) -> DataFrame:
    """A row per customer, as the ranker asks for; the age of a basket is how many there are from it on."""
    ages = [[len(of) - place for place, basket in enumerate(of) for _ in basket] for of in known]
    ones = pa.array([[1.0] * len(each) for each in ages], pa.list_(pa.float32()))
    rows = pa.table(
        {
            "customer_id": [str(number) for number in range(len(known))],
            "customer_key": pa.array(range(first_key, first_key + len(known)), pa.int64()),
            "items": pa.array([[item for basket in of for item in basket] for of in known], pa.list_(pa.int32())),
            "ages": pa.array(ages, pa.list_(pa.int32())),
            "units": ones,
            "spent": ones,
            "looks": pa.array([[0.0] * len(each) for each in ages], pa.list_(pa.float32())),
            "taken": pa.array(taken, pa.list_(pa.int32())),
        }
    )
    return spark.createDataFrame(rows).repartition(8, "customer_key").persist()


def as_rows(spark: SparkSession, lists: Sequence[list[int]]) -> DataFrame:
    """One row per customer and rank."""
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
    past: Sequence[tuple[Sequence[Baskets], Sequence[list[int]]]],
    known: Sequence[Baskets],
    *,
    references: tuple[Sequence[Baskets], Sequence[list[int]]],
    are_references: bool,
    num_items: int,
    sources: Mapping[str, str],
    candidates: CandidateSettings,
    ranker: RankerSettings,
) -> dict[str, DataFrame]:
    """The lists of each source, by what it is called, and of the ranker, for the `known` histories.

    Of each past morning what was known of every customer, and what came; the ranker learns from these. Knowledge of the
    items for the lists is made of `references`; `are_references` says whether these are the same customers in the same order,
    who then are no neighbours of themselves.
    """
    context, no_categories, asked = (
        spark.sparkContext,
        np.zeros(num_items, np.int64),
        CandidateOptions(candidates, RECENT_BASKETS),
    )
    examples = []
    for number, (earlier, taken) in enumerate(past):
        histories = histories_of(spark, earlier, taken).where(F.size("items") > 0)
        facts = context.broadcast(knowledge_at(histories, no_categories, asked))
        draw = F.xxhash64("customer_key", F.lit(ranker.seed))
        learned_from = drawn(histories, draw, "customer_key", most=ranker.customers_per_panel)
        examples.append(examples_of(learned_from, facts, asked, ranker).withColumn("as_of", F.lit(-number)))
    rows = reduce(DataFrame.unionByName, examples).persist()  # counted by label, then trained on
    started = time.perf_counter()
    features = features_with(candidates)
    trees = bytes(fit_ranker(rows, features, ranker).get_booster().save_raw("ubj"))
    print(f"the ranker learned in {time.perf_counter() - started:.0f} s from {len(features)} features", flush=True)
    facts = context.broadcast(knowledge_at(histories_of(spark, *references), no_categories, asked))
    scorers: dict[str, Callable[[], Scorer]] = {name: _by_source(source) for name, source in sources.items()}
    scorers["ranker"] = partial(by_trees, trees)
    first_key = 0 if are_references else len(references[0])
    histories = histories_of(spark, known, [[] for _ in known], first_key=first_key)
    return {
        name: ranked(histories, facts, asked, scorer=scorer, top_k=LONGEST).select(
            "customer_id", "rank", F.col("item_index").cast("string").alias("item_id")
        )
        for name, scorer in scorers.items()
    }


@dataclass(frozen=True)
class SumsOfGroups:
    """Means over rows of which some belong together, as a bootstrap over the groups sees them: group x model x metric."""

    sums: NDArray[np.float64]
    num_rows: NDArray[np.float64]  # of each group
    models: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def num_customers(self) -> int:
        return len(self.num_rows)

    def figures(
        self, models: Sequence[str], metrics: Sequence[str], counts: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        means = np.einsum("g,gmk->mk", counts, self.sums) / (counts @ self.num_rows)
        return means[np.ix_([self.models.index(m) for m in models], [self.metrics.index(m) for m in metrics])]


def sums_of_groups(measured: DataFrame, groups: Sequence[int]) -> SumsOfGroups:
    """From rows of `customer_ranking`, whose customer_id is the place of a row's group in `groups`."""
    rows = measured.toPandas()
    _, own = np.unique(groups, return_inverse=True)
    models, metrics = tuple(sorted(rows["model"].unique())), ranking_metrics()
    sums = np.zeros((own.max() + 1, len(models), len(metrics)))
    for place, model in enumerate(models):
        of_model = rows[rows["model"] == model]
        np.add.at(sums[:, place], own[of_model["customer_id"].astype(int)], of_model[list(metrics)].to_numpy(float))
    return SumsOfGroups(sums, np.bincount(own).astype(float), models, metrics)


def show_figures(
    lists: Mapping[str, DataFrame],
    truth: DataFrame,
    *,
    decides: str,
    is_ideal_cut: bool,
    groups: Sequence[int] | None = None,
) -> None:
    """Print every metric of all lists, and by how much the ranker is ahead of the best other in `decides`.

    The bootstrap draws customers, or with `groups` the group that each customer's number has there.
    """
    measured = customer_ranking(stacked(lists), truth, models=list(lists), is_ideal_cut=is_ideal_cut).persist()
    figures = {(row.model, row.metric): row.value for row in mean_figures(measured).collect()}
    sample = sampled_means(measured, seed=7) if groups is None else sums_of_groups(measured, groups)
    bounds = intervals(sample, list(ranking_metrics()), replicates=1000, seed=7, points=figures)
    for name in lists:
        told = (f"{m} {figures[name, m]:.4f}" for m in ranking_metrics())
        low, high = bounds[name, decides].low, bounds[name, decides].high
        print(f"{name:22} {'  '.join(told)}  ({decides} {low:.4f} to {high:.4f})", flush=True)
    best = max((name for name in lists if name != "ranker"), key=lambda name: figures[name, decides])
    asked = {"of": ["ranker"], "against": best, "replicates": 1000, "seed": 7, "points": figures}
    lead = paired_differences(sample, decides, **asked)["ranker"]
    print(f"the ranker is ahead of {best} by {lead.point:.4f} ({lead.low:.4f} to {lead.high:.4f}) in {decides}")


def _by_source(source: str) -> Callable[[], Scorer]:
    def scorer() -> Scorer:  # a function of its own: workers need not find this module
        return by_scores(lambda block: block.score(source), LONGEST, "")

    return scorer
