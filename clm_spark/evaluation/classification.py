"""How well a score tells those to whom something happened from those to whom it did not."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.evaluation.ranks import ranked_score, with_decile, with_running_sums
from clm_spark.evaluation.sums import exact_mean, exact_sum

METRICS = ("auc", "average_precision", "lift_at_top_decile", "brier_skill")


def classification_metrics(scored: DataFrame) -> DataFrame:
    """One row per model and metric; `scored` has model, customer_id, score (high: likely) and is_positive.

    * `auc`: chance that a positive scores above a negative, ties half (Mann-Whitney).
    * `average_precision`: sum over thresholds of precision times the recall gained, without interpolation, as
      scikit-learn defines it. A score that knows nothing gets the share of positives.
    * `lift_at_top_decile`: positives among the highest tenth over those among all; ties in no order that helps.
    * `brier_skill`: 1 - squared error over that of always saying the base rate (Brier 1950); only of probabilities,
      above 0 for calibrated scores that know anything.

    A metric that has no value, because all customers are of one kind, has no row.
    """
    per_model = _ranking_metrics(scored).join(_probability_metrics(scored), on="model", how="inner")
    top = score_deciles(scored).where(F.col("decile") == 1).select("model", F.col("lift").alias("lift_at_top_decile"))
    pairs = F.array(*(F.struct(F.lit(name).alias("metric"), F.col(name).alias("value")) for name in METRICS))
    figures = per_model.join(top, on="model", how="inner").select("model", "num_tested", F.inline(pairs))
    return figures.where(F.col("value").isNotNull())


def score_deciles(scored: DataFrame) -> DataFrame:
    """One row per model and tenth of the customers, as gold.score_deciles has them: lift and calibration."""
    of_model = Window.partitionBy("model")  # ten rows
    base_rate = F.sum("_num_positive").over(of_model) / F.sum("num_customers").over(of_model)
    counted = with_decile(scored, score="score", within=["model"]).groupBy("model", "decile").agg(
        F.count("*").alias("num_customers"),
        exact_mean(F.col("score")).alias("mean_probability"),
        F.count_if("is_positive").alias("_num_positive"),
    )  # fmt: skip
    observed = counted.withColumn("observed_share", F.col("_num_positive") / F.col("num_customers"))
    return observed.withColumn("lift", F.try_divide("observed_share", base_rate)).drop("_num_positive")


def _ranking_metrics(scored: DataFrame) -> DataFrame:
    """AUC and average precision from the positives and negatives at each distinct score."""
    at_score = scored.groupBy("model", ranked_score("score").alias("score")).agg(
        F.count_if("is_positive").alias("positives"), F.count_if(~F.col("is_positive")).alias("negatives")
    )
    counts = {name: F.col(name) for name in ("positives", "negatives")}
    counted = with_running_sums(at_score, counts, score="score", within=["model"], key="score")
    ranked_above = F.col("positives_running") - F.col("positives") / 2
    precision = F.col("positives_running") / (F.col("positives_running") + F.col("negatives_running"))
    num_positive, num_negative = F.sum("positives"), F.sum("negatives")
    return counted.groupBy("model").agg(
        # Whole and half numbers: exact in any order.
        F.try_divide(F.sum(ranked_above * F.col("negatives")), num_positive * num_negative).alias("auc"),
        F.try_divide(exact_sum(F.col("positives") * precision), num_positive).alias("average_precision"),
        (num_positive + num_negative).alias("num_tested"),
    )


def _probability_metrics(scored: DataFrame) -> DataFrame:
    happened = F.col("is_positive").cast("double")
    is_probability = (F.min("score") >= 0) & (F.max("score") <= 1)
    base_rate = F.count_if("is_positive") / F.count("*")
    skill = 1 - F.try_divide(exact_mean((F.col("score") - happened) ** 2), base_rate * (1 - base_rate))
    return scored.groupBy("model").agg(F.when(is_probability, skill).alias("brier_skill"))
