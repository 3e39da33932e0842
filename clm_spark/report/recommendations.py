"""How good the recommenders are, and what three customers see."""

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.evaluation.lists import list_metrics
from clm_spark.models.recommendation import Recommendation
from clm_spark.report import charts
from clm_spark.report.blocks import Chart, Grid, Section, missing, words
from clm_spark.report.figures import examples_from_recommendations, last_items_from_sequences
from clm_spark.report.metrics import metrics_grid, metrics_of, reasons_missing, verdict, with_series
from clm_spark.report.rows import known_rows, lines, small_rows
from clm_spark.report.slices import slice_grids
from clm_spark.tables.catalog import (
    ITEM_RECOMMENDATIONS,
    ITEM_SEQUENCES,
    ITEM_VOCABULARY,
    MODEL_METRICS,
    RECOMMENDATION_EXCLUSIONS,
    RULES,
    SURFACES,
)
from clm_spark.tables.lake import Lake

TOLD = ("ndcg_at_10", "recall_at_20", "hit_rate_at_10", "mrr_at_20")  # of gold.model_metrics, which has more
NUM_CUSTOMERS = 3
NUM_ITEMS = 5


def recommendations(lake: Lake) -> Section:
    """Figures of the recommenders and examples of their lists."""
    title = "Recommendations"
    found = metrics_of(lake, "recommendation")
    grids = [*_removed(lake), *_examples(lake)]
    if found.empty and not grids:
        job = Recommendation.train_job
        return missing("recommendations", title, of=MODEL_METRICS, job=job, reason=reasons_missing(lake).get(job))
    if found.empty:
        return Section("recommendations", title, "The recommenders have not been compared yet.", grids=grids)
    days = lake.settings.recommend.test_days
    lead = f"Recommenders compared on {days} days held out, all items ranked. {verdict(found, metric=Recommendation.decided_by)}"
    return Section("recommendations", title, lead, _figures(found), _grids(lake, found) + grids)


def _grids(lake: Lake, found: pd.DataFrame) -> list[Grid]:
    """How well the lists predict, and what they are like."""
    is_of_lists = found.metric.isin(list_metrics())
    about = (
        "The lists themselves. Coverage: share of the items bought that stand in any list. Gini: how uneven places are shared "
        "out among items, 0 to 1. Novelty: how rarely an item is bought, in bits. Diversity: share of a list's pairs of "
        "different categories."
    )
    grids = [metrics_grid(found[found.metric.isin(TOLD)])]
    if is_of_lists.any():
        grids.append(metrics_grid(found[is_of_lists], caption=about))
    return [*grids, *slice_grids(lake, Recommendation.name, worst_by=Recommendation.decided_by)]


def _figures(found: pd.DataFrame) -> list[Chart]:
    """A picture for each figure, the best first."""
    found = with_series(found, found)
    captions = {
        "ndcg_at_10": "NDCG@10: how much of what customers took to stood in 10 items, and how high. From 0 to 1, higher is better.",
        "recall_at_20": "Recall@20: share of what customers took to in the days held out that their 20 items held.",
    }
    pictures = []
    for metric, caption in captions.items():
        shown = found[found.metric == metric].sort_values(["value", "series"], ascending=[False, True])
        if shown.empty:
            continue
        summary = "; ".join(f"{row.series} {row.value:.3f}" for row in lines(shown))
        told = shown.assign(text=shown.value.map("{:.3f}".format))
        label = f"{words(metric)} of the recommenders: {summary}"
        picture = charts.bars(told, name="series", value="value", text="text", unit=words(metric), label=label)
        pictures.append(Chart(picture, caption))
    return pictures


def _removed(lake: Lake) -> list[Grid]:
    """What the business rules kept from being shown."""

    def in_order(exclusions: DataFrame) -> DataFrame:
        return exclusions.orderBy("surface", F.desc("num_shown_without"), "rule")

    removed = small_rows(lake, RECOMMENDATION_EXCLUSIONS, in_order, at_most=len(SURFACES) * len(RULES))
    if removed.empty:
        return []
    columns = ("list", "rule", "kept from the list", "candidates removed", "customers concerned")
    rows = [
        (
            words(row.surface),
            words(row.rule),
            *(f"{figure:,}" for figure in (row.num_shown_without, row.num_candidates, row.num_customers)),
        )
        for row in lines(removed)
    ]
    caption = "Business rules: how many items they kept from which list. An item is counted under the first rule that removes it."
    return [Grid(caption, columns, rows, num_labels=2)]


def _examples(lake: Lake) -> list[Grid]:
    if not lake.exists(ITEM_VOCABULARY):
        return []
    items = known_rows(lake, ITEM_VOCABULARY, newest_of=()).select("item_id", "item_index", "category")

    def with_categories(lists: DataFrame) -> DataFrame:
        at_home = lists.where(F.col("surface") == "home")
        chosen = examples_from_recommendations(at_home, num_customers=NUM_CUSTOMERS, num_items=NUM_ITEMS)
        return chosen.join(items, on="item_id", how="left").orderBy("customer_id", "rank")

    # A few customers and ranks.
    lists = small_rows(lake, ITEM_RECOMMENDATIONS, with_categories, at_most=NUM_CUSTOMERS * NUM_ITEMS)
    if lists.empty:
        return []
    history = _last_items(lake, items, sorted(set(lists.customer_id)))
    return [_example(customer, rows, history) for customer, rows in lists.groupby("customer_id")]


def _last_items(lake: Lake, items: DataFrame, customers: list[str]) -> pd.DataFrame:
    def of_customers(rows: DataFrame) -> DataFrame:
        theirs = rows.where(F.col("customer_id").isin(customers))
        last = last_items_from_sequences(theirs, num_items=NUM_ITEMS)
        return last.join(items, on="item_index", how="left").orderBy("customer_id", "place")

    # The same few customers and as many items each.
    return small_rows(lake, ITEM_SEQUENCES, of_customers, at_most=NUM_CUSTOMERS * NUM_ITEMS)


def _example(customer: object, lists: pd.DataFrame, history: pd.DataFrame) -> Grid:
    columns = {"last items, newest first": (_items(history[history.customer_id == customer]))} if len(history) else {}
    columns |= {"recommended": _items(lists), "source": list(lists.source.map(words)), "reason": list(lists.reason)}
    rows = [
        (str(rank + 1), *(listed[rank] if rank < len(listed) else "-" for listed in columns.values()))
        for rank in range(NUM_ITEMS)
    ]
    # The pseudonym says nothing to a reader; its start is enough to find the customer again.
    caption = f"Customer {str(customer)[:12]}: what came last, and the first {NUM_ITEMS} items of the list."
    return Grid(caption, ("rank", *columns), rows, num_labels=1 + len(columns))


def _items(rows: pd.DataFrame) -> list[str]:
    return [row.item_id if pd.isna(row.category) else f"{row.item_id} ({row.category})" for row in lines(rows)]
