"""One row per customer with what people ask first, from all tables that speak for the morning."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.models.habits import HABITS, USUAL
from clm_spark.models.made_days import rows_made
from clm_spark.tables.catalog import (
    CUSTOMER_FEATURES,
    CUSTOMER_PROFILES,
    CUSTOMER_SCORES,
    CUSTOMER_TASTES,
    ITEM_RECOMMENDATIONS,
    LIFECYCLE_STAGES,
    NUM_NEXT_ITEMS,
    RFM_SCORES,
    SEGMENT_PROFILES,
    SEGMENTS,
)
from clm_spark.tables.lake import Lake

CHANCES = ("churn", "purchase")  # scores of gold.customer_scores, in probabilities


def customer_profiles(lake: Lake) -> DataFrame:
    """One row per customer of gold.customer_features of as_of, as gold.customer_profiles declares.

    What another table does not say that morning is null: a model may be missing, a customer not asked about.
    """
    rows = _known(rows_made(lake, CUSTOMER_FEATURES))
    for part in (
        _stages(rows_made(lake, LIFECYCLE_STAGES)),
        rows_made(lake, RFM_SCORES).select("customer_id", F.col("cell").alias("rfm_cell")),
        _segments(rows_made(lake, SEGMENTS), rows_made(lake, SEGMENT_PROFILES)),
        _tastes(rows_made(lake, CUSTOMER_TASTES)),
        scores_in_columns(rows_made(lake, CUSTOMER_SCORES)),
        _next_items(rows_made(lake, ITEM_RECOMMENDATIONS).where(F.col("surface") == "home")),
    ):
        rows = rows.join(part, on="customer_id", how="left")
    return rows.select(CUSTOMER_PROFILES.schema.names)


def scores_in_columns(scores: DataFrame) -> DataFrame:
    """One row per customer of gold.customer_scores of one as_of: chances, value, reasons and flags in columns."""

    def of(score: str, column: str) -> Column:
        return F.max(F.when(F.col("score") == score, F.col(column)))

    columns = [
        of(task, column).alias(f"{task}_{name}")
        for task in CHANCES
        for column, name in (("value", "probability"), ("decile", "decile"), ("reasons", "reasons"))
    ]
    is_habit, is_flagged = F.col("score").isin(*HABITS), F.col("label") != USUAL
    flags = F.when(F.count_if(is_habit) > 0, F.array_sort(F.collect_set(F.when(is_habit & is_flagged, F.col("label")))))
    columns.append(flags.alias("risk_flags"))
    value = {"value": "value_cents", "low": "value_low_cents", "high": "value_high_cents", "decile": "value_decile"}
    return scores.groupBy("customer_id").agg(*columns, *(of("value", name).alias(to) for name, to in value.items()))


def _known(features: DataFrame) -> DataFrame:
    same = ("num_orders", "net_revenue_cents", "net_revenue_365d_cents", "mean_order_cents", "mean_gap_days")
    last_purchase_on = F.date_sub("as_of", F.col("purchase_recency_days").cast("int"))
    return features.select(
        "customer_id",
        "as_of",
        F.col("tenure_days").alias("customer_for_days"),
        *same,
        last_purchase_on.alias("last_purchase_on"),
        F.date_add(last_purchase_on, F.round("mean_gap_days").cast("int")).alias("due_on"),
        "discount_365d_share",
        "refunds_per_line_365d",
    )


def _stages(stages: DataFrame) -> DataFrame:
    renamed = (F.col("since_on").alias("stage_since_on"), F.col("reason").alias("stage_reason"))
    return stages.select("customer_id", "stage", *renamed)


def _segments(segments: DataFrame, profiles: DataFrame) -> DataFrame:
    words = (F.col(column).alias(f"segment_{column}") for column in ("name", "description"))
    named = profiles.select("segment", *words)  # a few rows
    return segments.select("customer_id", "segment").join(F.broadcast(named), on="segment", how="left")


def _tastes(tastes: DataFrame) -> DataFrame:
    return tastes.select(
        "customer_id",
        F.col("top_bought_categories_365d").alias("top_bought_categories"),
        F.col("top_viewed_categories_90d").alias("top_viewed_categories"),
    )


def _next_items(lists: DataFrame) -> DataFrame:
    ranked = F.sort_array(F.collect_list(F.struct("rank", "item_id")))
    first = lists.where(F.col("rank") <= NUM_NEXT_ITEMS).groupBy("customer_id").agg(ranked.alias("ranked"))
    return first.select("customer_id", F.col("ranked.item_id").alias("next_items"))
