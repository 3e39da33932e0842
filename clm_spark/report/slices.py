"""For whom a score is less sure, and what an offer by it would bring."""

import pandas as pd

from clm_spark.evaluation.curves import OFFER_METRICS
from clm_spark.evaluation.offers import Offer
from clm_spark.report.blocks import Grid, count_text, number_text, words
from clm_spark.report.metrics import interval_text, metrics_grid
from clm_spark.report.rows import first_line, lines, small_rows
from clm_spark.tables.catalog import SLICE_METRICS
from clm_spark.tables.lake import Lake


def slice_grids(lake: Lake, score: str, *, worst_by: str) -> list[Grid]:
    """The champion's figures by group; none where no comparison has written them. `worst_by` is the metric that decides."""
    # A handful of groups, each with a handful of figures.
    rows = small_rows(
        lake,
        SLICE_METRICS,
        lambda rows: rows.where(f"score = '{score}'").orderBy("slice", "customers", "metric"),
        at_most=200,
        newest_of=("score",),
    )
    if rows.empty:
        return []
    metrics = list(dict.fromkeys(rows.metric))
    told = []
    for (name, customers), of_group in rows.groupby(["slice", "customers"]):
        figures = {row.metric: interval_text(row) for row in lines(of_group)}
        first = first_line(of_group)
        mark = "worst" if first.is_worst else ""
        told.append((words(str(name)), str(customers), *(figures.get(metric, "-") for metric in metrics),
                     count_text(first.num_tested), mark))  # fmt: skip
    worst = rows[rows.is_worst & (rows.metric == worst_by)]
    caption = "The champion by group." + "".join(
        f" Least sure for {words(row.slice).lower()} {row.customers}: {words(worst_by)} {interval_text(row)}."
        for row in lines(worst)
    )
    return [Grid(caption, ("slice", "group", *map(words, metrics), "tested", ""), told, 2)]


def offer_grids(found: pd.DataFrame, offer: Offer) -> list[Grid]:
    """The confusion matrix of each model where an offer begins to pay; none of figures written before there was one."""
    of_offer = found[found.metric.isin(OFFER_METRICS)]
    if of_offer.empty:
        return []
    return [
        metrics_grid(
            of_offer,
            caption=f"Who would be made an offer: from a probability of {number_text(offer.threshold)} on it is worth more "
            f"than it costs ({number_text(offer.cost_cents, digits=0)} cents; {offer.response_share:.0%} of those to whom "
            f"it would happen are moved, each worth {number_text(offer.margin_cents, digits=0)} cents). Shares of all "
            "tested customers, and cents per tested customer.",
        )
    ]
