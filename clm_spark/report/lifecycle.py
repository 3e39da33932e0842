"""Where customers stand in their life with the shop, who moved, and how many of each month's new buyers still buy."""

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.report import charts
from clm_spark.report.blocks import Chart, Grid, Section, count_text, missing, money_text, share_text, words
from clm_spark.report.figures import cells_of_rfm
from clm_spark.report.rows import first_line, lines, small_rows
from clm_spark.tables.catalog import (
    COHORTS,
    CUSTOMER_FEATURES,
    LIFECYCLE_STAGES,
    NOT_SEEN,
    RFM_SCORES,
    STAGE_TRANSITIONS,
    STAGES,
)
from clm_spark.tables.lake import Lake

MOST_COHORTS = 13  # a year, and the month that it began in
SHOWN_MONTHS = (1, 2, 3, 6, 12)
SCORES = 5  # of recency, frequency and money


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
    rfm_charts, rfm_grids = _rfm(lake)
    charts_shown = [_stock_chart(stock), *rfm_charts]
    return Section("lifecycle", title, lead, charts_shown, [*grids, *_cohort_grids(cohorts), *rfm_grids])


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


def _rfm(lake: Lake) -> tuple[list[Chart], list[Grid]]:
    fields = small_rows(lake, RFM_SCORES, cells_of_rfm, at_most=SCORES**2)
    if fields.empty:
        return [], []
    picture = charts.heatmap(
        fields, x="worth_score", y="recency_score", value="num_customers",
        x_unit="frequency and money (5: most)", y_unit="recency (5: latest)",
        label="Customers by RFM scores: " + "; ".join(
            f"recency {row.recency_score}, frequency and money {row.worth_score}: {count_text(row.num_customers)}"
            for row in lines(fields.sort_values(["recency_score", "worth_score"], ascending=False))
        ),
    )  # fmt: skip
    caption = "Customers by how lately they bought, and by the mean of how often and how much, in scores of 1 to 5."
    cells = fields.groupby("cell", as_index=False)[["num_customers", "net_revenue_cents"]].sum()
    whole = cells[["num_customers", "net_revenue_cents"]].sum()
    rows = [
        [words(row.cell), count_text(row.num_customers), share_text(row.num_customers / whole.num_customers),
         money_text(row.net_revenue_cents)]
        for row in lines(cells.sort_values(["net_revenue_cents", "cell"], ascending=[False, True]))
    ]  # fmt: skip
    said = f"The cells of recency, frequency and money as of {fields.as_of.iloc[0]}; net revenue of the last 365 days."
    return [Chart(picture, caption)], [Grid(said, ["cell", "customers", "share", "net revenue"], rows)]
