"""Who the customers are and who is leaving."""

import pandas as pd

from clm_spark.evaluation.curves import OFFER_METRICS
from clm_spark.models.churn import Churn, ChurnSettings
from clm_spark.models.segments.settings import SegmentSettings
from clm_spark.models.segments.task import Segmentation
from clm_spark.models.value.settings import ValueSettings
from clm_spark.report import charts
from clm_spark.report.blocks import (
    Chart,
    Grid,
    Section,
    count_text,
    missing,
    money_text,
    number_text,
    share_text,
    words,
)
from clm_spark.report.figures import leaving_by_decile
from clm_spark.report.metrics import metrics_grid, metrics_of, reasons_missing, verdict, with_series
from clm_spark.report.rows import first_line, lines, small_rows
from clm_spark.report.slices import offer_grids, slice_grids
from clm_spark.tables.catalog import CUSTOMER_SCORES, MODEL_METRICS, SCORE_DECILES, SEGMENT_CHOICES, SEGMENT_PROFILES
from clm_spark.tables.lake import Lake


def segments(lake: Lake) -> Section:
    """Segments in words and in pictures."""
    title = "Segments"
    # One row per segment; no entrant makes more than k_to, and the version in use may be of other settings.
    profiles = small_rows(
        lake,
        SEGMENT_PROFILES,
        lambda rows: rows.orderBy("segment"),
        at_most=2 * lake.settings.of(SegmentSettings).k_to,
        newest_of=(),
    )
    if profiles.empty:
        job = Segmentation.train_job
        return missing("segments", title, of=SEGMENT_PROFILES, job=job, reason=reasons_missing(lake).get(job))
    best = first_line(profiles)
    named = f"Segment {best.segment}" + (f" ({best.name})" if best.name else "")
    lead = (
        f"{len(profiles)} segments as of {best.as_of}. {named} is {share_text(best.customers_share)} of "
        f"the customers and {share_text(best.revenue_share)} of the last 90 days' revenue."
    )
    found = metrics_of(lake, "segments")
    notes = [f"{words(row.metric)} of {words(row.model)}: {number_text(row.value)}." for row in lines(found)]
    grids = [_segment_grid(profiles), *_choice_grid(lake)]
    return Section("segments", title, lead, _segment_charts(profiles), grids, notes)


def _segment_charts(profiles: pd.DataFrame) -> list[Chart]:
    named = profiles.assign(name=[f"segment {number}" for number in profiles.segment])
    shares = named.melt(
        id_vars="name", value_vars=["customers_share", "revenue_share"], var_name="series", value_name="share"
    )
    shares["series"] = shares.series.map({"customers_share": "of customers", "revenue_share": "of revenue"})
    summary = "; ".join(f"{row.name}: {row.share:.0%} {row.series}" for row in lines(shares))
    pictures = [
        Chart(
            charts.paired_bars(shares, name="name", value="share", series="series", unit="share",
                               label=f"Share of customers and of revenue by segment: {summary}"),
            "What share of the customers each segment holds, and what share of the last 90 days' net revenue.",
        )
    ]  # fmt: skip
    bought = named.dropna(subset=["mean_recency_days"])
    if len(bought):
        picture = charts.bubbles(
            bought, x="mean_recency_days", y="mean_orders_90d", size="customers_share", name="segment",
            label="Segments by days since the last purchase and orders in 90 days",
            x_unit="mean days since the last purchase", y_unit="mean orders in 90 days",
        )  # fmt: skip
        caption = (
            "Each circle is a segment, by its number; the larger, the more customers. "
            "Top left: bought lately and often. Bottom right: silent for long."
        )
        pictures.append(Chart(picture, caption))
    return pictures


def _segment_grid(profiles: pd.DataFrame) -> Grid:
    header = ("segment", "name", "in words", "what sets it apart", "customers", "share of customers",
              "share of revenue", "days since purchase", "orders, 90 days", "net revenue, 90 days", "discount")  # fmt: skip
    rows = [
        (str(row.segment), row.name or "-", row.description, ", ".join([] if row.sets_apart is None else row.sets_apart),
         count_text(row.num_customers), share_text(row.customers_share), share_text(row.revenue_share),
         number_text(row.mean_recency_days, digits=1), number_text(row.mean_orders_90d, digits=1),
         money_text(row.mean_revenue_90d_cents), share_text(row.mean_discount_share))
        for row in lines(profiles)
    ]  # fmt: skip
    caption = (
        "Means per customer; money in the shop's currency, discount as a share of list price. What sets a segment apart is "
        "its difference to all customers, in their standard deviations."
    )
    return Grid(caption, header, rows, 4)


def _choice_grid(lake: Lake) -> list[Grid]:
    # A row per k that was tried.
    in_order = ("num_segments", "candidate")
    tried = small_rows(lake, SEGMENT_CHOICES, lambda rows: rows.orderBy(*in_order), at_most=20, newest_of=())
    if tried.empty:
        return []
    rows = [
        (row.candidate, "chosen" if row.is_chosen else "-", count_text(row.num_segments), share_text(row.largest_share), number_text(row.silhouette),
         number_text(row.stability))
        for row in lines(tried)
    ]  # fmt: skip
    asked = lake.settings.of(SegmentSettings)
    caption = (
        f"Why so many: the highest silhouette among those whose refits agree at least {asked.min_stability:g} "
        f"(mean adjusted Rand index of bootstrap refits), and none of which holds more than {asked.max_share:.0%}; on a "
        "sample of the customers."
    )
    return [Grid(caption, ("tried", "", "segments", "in the largest", "silhouette", "stability"), rows, 2)]


def churn(lake: Lake) -> Section:
    """How well churn is predicted, and how many customers are at risk today."""
    title = "Who is leaving"
    found = metrics_of(lake, "churn")
    if found.empty:
        job = Churn.train_job
        return missing("churn", title, of=MODEL_METRICS, job=job, reason=reasons_missing(lake).get(job))
    asked = lake.settings.of(ChurnSettings)
    lead = (
        f"Asked of customers who bought in the {asked.active_days} days before: will they buy nothing in the "
        f"{asked.horizon_days} days to come? {verdict(found, metric=Churn.decided_by)}"
    )
    pictures = _tested_deciles(lake, found)
    today_pictures, today_grids = _deciles_today(lake)
    main = found[~found.metric.isin(OFFER_METRICS)]
    grids = [
        metrics_grid(main),
        *offer_grids(found, asked.offer),
        *slice_grids(lake, "churn", worst_by="auc"),
        *today_grids,
    ]
    return Section("churn", title, lead, [*pictures, *today_pictures], grids)


def _tested_deciles(lake: Lake, found: pd.DataFrame) -> list[Chart]:
    # Ten rows per version that was tested, and there are a handful.
    tested = small_rows(
        lake,
        SCORE_DECILES,
        lambda rows: rows.where("score = 'churn'").orderBy("model", "model_version", "decile"),
        at_most=100,
        newest_of=("score",),
    )
    if tested.empty:
        return []
    tested = with_series(tested, found)
    first = tested[tested.decile == 1]
    summary = ", ".join(f"{row.series} {row.lift:.2f}" for row in lines(first))
    pictures = [
        Chart(
            charts.lines_by_decile(tested, value="lift", series="series", unit="lift (times)",
                                   label=f"Lift by decile of predicted churn; in decile 1: {summary}"),
            "Lift: how many times more customers of a decile left than of all customers, on days the models had not "
            "seen. The steeper the fall from left to right, the better; the dashed line is chance.",
        )
    ]  # fmt: skip
    promised = tested[tested.mean_probability.between(0, 1)]
    if len(promised):
        picture = charts.calibration(promised, predicted="mean_probability", observed="observed_share",
                                     series="series", label="Predicted probability of churn against what came, "
                                     "one point per decile")  # fmt: skip
        caption = (
            "Calibration: each point is a decile. On the dashed line, as many left as were predicted to (percent)."
        )
        pictures.append(Chart(picture, caption))
    return pictures


def _deciles_today(lake: Lake) -> tuple[list[Chart], list[Grid]]:
    # Ten rows, times the model versions of one day: one.
    today = small_rows(lake, CUSTOMER_SCORES, leaving_by_decile, at_most=20, newest_of=("score",))
    if today.empty:
        return [], []
    today = today.assign(num_leaving=today.num_customers * today.mean_probability)
    picture = charts.decile_columns(
        today, value="num_leaving", unit="customers", label="Customers expected to leave, by risk decile today"
    )
    day = today.as_of[0]
    caption = f"How many customers of each decile are expected to leave, as of {day}: customers times probability."
    said = (
        f"Risk as of {day}, by model {today.model_version[0]}: {count_text(today.num_leaving.sum())} of "
        f"{count_text(today.num_customers.sum())} customers are expected to leave."
    )
    header = ["decile", "customers", "mean probability", "expected to leave"]
    rows = [
        [str(row.decile), count_text(row.num_customers), share_text(row.mean_probability), count_text(row.num_leaving)]
        for row in lines(today)
    ]
    if today.value_cents.notna().any():
        days = lake.settings.of(ValueSettings).horizon_days
        said += (
            f" At risk: {money_text(today.at_risk_cents.sum())} of the {money_text(today.value_cents.sum())} that all of "
            f"them are expected to bring in {days} days, each customer's value times the probability."
        )
        header.append("value at risk")
        for row, cents in zip(rows, today.at_risk_cents, strict=True):
            row.append(money_text(cents))
    return [Chart(picture, caption)], [Grid(said, header, rows)]
