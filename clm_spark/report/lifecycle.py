"""Where customers stand in their life with the shop, who moved, and how many of each month's new buyers still buy."""

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.report import charts
from clm_spark.report.blocks import Chart, Grid, Section, count_text, missing, money_text, share_text, words
from clm_spark.report.rows import first_line, lines, small_rows
from clm_spark.tables.catalog import (
    COHORTS,
    CUSTOMER_FEATURES,
    LIFECYCLE_STAGES,
    NOT_SEEN,
    STAGE_TRANSITIONS,
    STAGES,
)
from clm_spark.tables.lake import Lake

MOST_COHORTS = 13  # a year, and the month that it began in
SHOWN_MONTHS = (1, 2, 3, 6, 12)


def lifecycle(lake: Lake) -> Section:
    """Stages as stock and flow, and retention by month of first purchase."""
    title = "Lifecycle"
    stock = small_rows(lake, LIFECYCLE_STAGES, lambda rows: _stock(lake, rows), at_most=len(STAGES))
    if stock.empty:
        return missing("lifecycle", title, of=LIFECYCLE_STAGES, job="assign_stages")
    stock = stock.set_index("stage").reindex([stage for stage in STAGES if stage in set(stock.stage)]).reset_index()
    stock["share"] = stock.num_customers / stock.num_customers.sum()
    of_stage = {row.stage: row for row in lines(stock)}
    flow = small_rows(
        lake,
        STAGE_TRANSITIONS,
        lambda rows: rows.where("from_stage != to_stage").orderBy(F.desc("num_customers"), "from_stage", "to_stage"),
        at_most=len(STAGES) * (len(STAGES) + 1),
    )
    cohorts = small_rows(
        lake,
        COHORTS,
        lambda rows: rows.where(F.col("cohort_on") >= F.add_months("as_of", -MOST_COHORTS)),
        at_most=MOST_COHORTS**2,
    )
    at_risk = of_stage.get("at_risk")
    at_stake = (
        f"{count_text(at_risk.num_customers)} are at risk, who brought {money_text(at_risk.revenue_cents)} in the last "
        "365 days."
        if at_risk
        else "Nobody is at risk."
    )
    lead = f"Of {count_text(stock.num_customers.sum())} customers as of {first_line(stock).as_of}, {at_stake}"
    grids = [_flow_grid(flow)] if len(flow) else []
    return Section("lifecycle", title, lead, [_stock_chart(stock)], [*grids, *_cohort_grids(cohorts)])


def _stock(lake: Lake, stages: DataFrame) -> DataFrame:
    features = lake.read(CUSTOMER_FEATURES).select("customer_id", "as_of", "net_revenue_365d_cents")
    both = stages.join(features, on=["customer_id", "as_of"], how="left")
    return both.groupBy("as_of", "stage").agg(
        F.count("*").alias("num_customers"),
        F.coalesce(F.sum("net_revenue_365d_cents"), F.lit(0)).alias("revenue_cents"),
    )


def _stock_chart(stock: pd.DataFrame) -> Chart:
    shown = stock.assign(
        name=stock.stage.map(words),
        text=[f"{count_text(row.num_customers)} ({share_text(row.share)})" for row in lines(stock)],
    )
    summary = "; ".join(f"{row.name}: {row.text}" for row in lines(shown))
    return Chart(
        charts.bars(
            shown, name="name", value="num_customers", text="text", unit="customers", label=f"Customers by stage: {summary}"
        ),
        "How many customers are in each stage; silence is long by each customer's own rhythm.",
    )  # fmt: skip


def _flow_grid(flow: pd.DataFrame) -> Grid:
    rows = [
        [words(row.from_stage) if row.from_stage != NOT_SEEN else "Not seen before", words(row.to_stage),
         count_text(row.num_customers)]
        for row in lines(flow)
    ]  # fmt: skip
    return Grid("Customers who changed their stage since the morning before.", ["from", "to", "customers"], rows, 2)


def _cohort_grids(cohorts: pd.DataFrame) -> list[Grid]:
    if cohorts.empty:
        return []
    by_month = cohorts.pivot_table(index="cohort_on", columns="months_since", values="retention")
    size = cohorts[cohorts.months_since == 0].set_index("cohort_on").num_customers
    revenue = cohorts.groupby("cohort_on").net_revenue_cents.sum()
    shown = [month for month in SHOWN_MONTHS if month in by_month.columns]
    rows = [
        [f"{month:%Y-%m}", count_text(size[month]), *(share_text(by_month.loc[month, since]) for since in shown),
         money_text(revenue[month])]
        for month in by_month.index
    ]  # fmt: skip
    header = ["first bought in", "customers", *(f"after {month} mo." for month in shown), "net revenue so far"]
    caption = f"Share of each month's new buyers who bought again in a later month, as of {cohorts.as_of.iloc[0]}, by whole months."
    return [Grid(caption, header, rows)]
