"""How prone each customer is to refunds, and how much to buying at a discount alone: shares, shrunk towards the shop's."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.models.reasons import figure_in_words
from clm_spark.settings import HabitSettings

MODEL = "shrunken_share"
LINES = "num_lines_365d"
HABITS = {  # score: the lines that have it, and the label of those who have it beyond chance
    "refunds": ("num_refunds_365d", "refund_prone"),
    "discounts": ("num_discounted_lines_365d", "discount_buyer"),
}
USUAL = "usual"  # the label of all others
SPREADS = 1.96  # of a normal distribution: 95 % lie within


def habit_scores(features: DataFrame, *, habit: str, settings: HabitSettings) -> DataFrame:
    """One row per customer who bought in the last 365 days, as gold.customer_scores has them but for `decile`.

    `value` is the posterior mean of a beta distribution whose prior is worth `prior_lines` lines at the shop's own share:
    (lines with the habit + prior_lines x shop's share) / (lines + prior_lines). So one refund of one line is no certainty.
    `low` and `high` are two standard deviations of it away. The label says who is above the shop's share beyond that, and
    `discount_only` who has hardly a line without discount.
    """
    counted, label = HABITS[habit]
    buyers = features.where(F.col(LINES) > 0).withColumn("_with", F.least(counted, LINES))
    shop = buyers.agg((F.sum("_with") / F.sum(LINES)).alias("_shop"))
    prior = F.lit(settings.prior_lines)
    lines = F.col(LINES) + prior
    value = (F.col("_with") + prior * F.col("_shop")) / lines
    spread = SPREADS * F.sqrt(value * (1 - value) / (lines + 1))
    scored = buyers.crossJoin(F.broadcast(shop)).withColumns({"value": value, "_spread": spread})
    low, high = (
        F.greatest(F.lit(0.0), F.col("value") - F.col("_spread")),
        F.least(F.lit(1.0), F.col("value") + F.col("_spread")),
    )
    return scored.select(
        "customer_id",
        "as_of",
        F.lit(habit).alias("score"),
        "value",
        F.lit("share").alias("unit"),
        low.alias("low"),
        high.alias("high"),
        _label(habit, label, low, settings).alias("label"),
        F.array(figure_in_words(counted), figure_in_words(LINES)).alias("reasons"),
        F.lit(False).alias("is_fallback"),
        F.lit(MODEL).alias("model"),
        F.lit(f"{MODEL}-{settings.prior_lines:g}").alias("model_version"),
    )


def _label(habit: str, label: str, low: Column, settings: HabitSettings) -> Column:
    told = F.when(low > F.col("_shop"), label).otherwise(USUAL)
    if habit == "discounts":
        # The customer's own share as well: where all buy at a discount, one line at full price must not look like it.
        is_only = F.least("value", F.col("_with") / F.col(LINES)) >= settings.discount_only_share
        return F.when(is_only, "discount_only").otherwise(told)
    return told
