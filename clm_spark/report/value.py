"""What customers will bring, and how close such predictions came on days that no model had seen."""

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.value.settings import ValueSettings
from clm_spark.models.value.task import SCORES, Value
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
from clm_spark.report.metrics import metrics_grid, metrics_of, reasons_missing, verdict
from clm_spark.report.rows import first_line, small_rows
from clm_spark.tables.catalog import CUSTOMER_SCORES, MODEL_METRICS, SCORE_DECILES
from clm_spark.tables.lake import Lake

DECILES = 10
CENTS = 100


def value(lake: Lake) -> Section:
    """The holdout test of value, and how value is spread over customers today."""
    title = "What customers will bring"
    found = metrics_of(lake, Value.name)
    today = _today(lake)
    if found.empty and today.empty:
        job = Value.train_job
        return missing("value", title, of=MODEL_METRICS, job=job, reason=reasons_missing(lake).get(job))
    asked = lake.settings.of(ValueSettings)
    lead = f"Asked of every customer who has bought: what will they bring in the {asked.horizon_days} days to come? "
    lead += verdict(found, metric=Value.decided_by) if len(found) else _untested(lake, today)
    pictures = [*_tested(lake, found), *_spread(today, asked)]
    grids = [*([metrics_grid(found)] if len(found) else []), *([_sums(today, asked)] if len(today) else [])]
    return Section("value", title, lead, pictures, grids)


def _untested(lake: Lake, today: pd.DataFrame) -> str:
    reason = reasons_missing(lake).get(Value.train_job)
    why = (
        f"No model was tested for this day ({Value.train_job}: {reason})."
        if reason
        else "No model was tested for this day."
    )
    return f"{why} Everybody is given the base rate of all buyers." if today.is_fallback.all() else why


def _today(lake: Lake) -> pd.DataFrame:
    # Ten rows per score of one day.
    return small_rows(
        lake,
        CUSTOMER_SCORES,
        lambda rows: _by_decile(rows.where(F.col("score").isin(*SCORES))),
        at_most=DECILES * len(SCORES),
        newest_of=("score",),
    )


def _by_decile(scores: DataFrame) -> DataFrame:
    return scores.groupBy("score", "decile", "as_of", "model").agg(
        F.count("*").alias("num_customers"),
        F.sum("value").alias("total"),
        F.sum("low").alias("low"),
        F.sum("high").alias("high"),
        F.bool_and("is_fallback").alias("is_fallback"),
    ).orderBy("score", "decile")  # fmt: skip


def _tested(lake: Lake, found: pd.DataFrame) -> list[Chart]:
    """Predicted and realised revenue by tenth of the prediction, of what is served."""
    if found.empty:
        return []
    champion = found[found.is_champion]
    shown = first_line(champion if len(champion) else found)
    # Ten rows of one version.
    tested = small_rows(
        lake,
        SCORE_DECILES,
        lambda rows: rows.where(
            (F.col("score") == Value.name) & (F.col("model_version") == shown.model_version)
        ).orderBy("decile"),
        at_most=DECILES,
        newest_of=("score",),
    )
    if tested.empty:
        return []
    both = tested.melt(
        id_vars="decile", value_vars=["mean_value", "mean_observed"], var_name="series", value_name="cents"
    )
    both = both.assign(
        series=both.series.map({"mean_value": "predicted", "mean_observed": "came"}), amount=both.cents / CENTS
    )
    first = first_line(tested)
    picture = charts.decile_pairs(
        both, value="amount", series="series", unit="net revenue per customer", of="predicted value",
        label=f"Net revenue per customer by decile of predicted value, predicted and came; in decile 1 "
        f"{money_text(first.mean_value)} and {money_text(first.mean_observed)}",
    )  # fmt: skip
    caption = (
        f"Net revenue per customer in the days from {first.tested_on} on, as {words(shown.model)} predicted it that morning and "
        "as it came. Where both bars of a decile are as high, the level is right; where they fall from left to right, the order."
    )
    return [Chart(picture, caption)]


def _spread(today: pd.DataFrame, asked: ValueSettings) -> list[Chart]:
    """How lifetime value is spread over tenths of the customers; value in the horizon where there is none."""
    score = "lifetime_value" if "lifetime_value" in set(today.get("score", [])) else Value.name
    rows = today[today.score == score] if len(today) else today
    if rows.empty or rows.total.sum() <= 0:
        return []
    shown = rows.assign(amount=rows.total / rows.num_customers / CENTS)
    days = asked.lifetime_days if score == "lifetime_value" else asked.horizon_days
    top = rows[rows.decile == 1].total.sum() / rows.total.sum()
    worth = ", discounted and times the margin" if score == "lifetime_value" else ""
    picture = charts.decile_columns(
        shown,
        value="amount",
        unit="value per customer",
        of="value",
        label=f"Value of the next {days} days by decile of customers today",
    )
    caption = (
        f"What a customer of each decile is expected to bring in the {days} days from {first_line(rows).as_of} on{worth}: the "
        f"first tenth of the customers brings {share_text(top)} of all."
    )
    return [Chart(picture, caption)]


def _sums(today: pd.DataFrame, asked: ValueSettings) -> Grid:
    """One line per score: its sum or mean over all customers."""
    rows = []
    for score, of_score in today.groupby("score", sort=False):
        unit, *_ = SCORES[str(score)]
        num, total = of_score.num_customers.sum(), of_score.total.sum()
        is_money = unit == "cents"
        mean = money_text(total / num) if is_money else number_text(total / num)
        added = money_text(total) if is_money and score != "expected_order_cents" else "-"
        rows.append((words(str(score)), words(first_line(of_score).model), count_text(num), mean, added))
    caption = (
        f"Scores as of {first_line(today).as_of}: value and orders of {asked.horizon_days} days, lifetime value and the formula's "
        f"of {asked.lifetime_days}, times a margin of {share_text(asked.margin)}."
    )
    return Grid(caption, ("score", "by", "customers", "mean", "sum"), sorted(rows), 2)
