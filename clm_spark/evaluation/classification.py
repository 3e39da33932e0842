"""How well a score tells those to whom something happened from those to whom it did not."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.evaluation.curves import LEAST_PROBABILITY, METRICS, OFFER_METRICS
from clm_spark.evaluation.offers import OUTCOMES, Offer
from clm_spark.evaluation.ranks import ranked_score, with_decile, with_running_sums
from clm_spark.evaluation.sums import exact_mean, exact_sum


def classification_metrics(
    scored: DataFrame, *, deciles: DataFrame | None = None, offer: Offer | None = None
) -> DataFrame:
    """One row per model and metric; `scored` has model, customer_id, score (high: likely) and is_positive.

    * `auc`: chance that a positive scores above a negative, ties half (Mann-Whitney).
    * `average_precision`: sum over thresholds of precision times the recall gained, without interpolation, as
      scikit-learn defines it. A score that knows nothing gets the share of positives.
    * `lift_at_top_decile`: positives among the highest tenth over those among all; ties in no order that helps.
    * `gain_at_top_decile`: the share of all positives that the highest tenth holds.

    And of probabilities only:

    * `brier`: mean squared error (Brier 1950); lower is better.
    * `brier_skill`: 1 - Brier over that of always saying the base rate, above 0 for calibrated scores that know anything.
    * `log_loss`: mean of -ln of the probability given to what came; lower is better.
    * `calibration_error`: |mean probability - observed share| of each tenth by score, averaged (expected calibration
      error, Naeini 2015, over bins of equally many customers); lower is better.
    * with `offer`, at its threshold: the confusion matrix as shares of all tested, `true_positive_share`,
      `false_positive_share`, `false_negative_share`, `true_negative_share`, and `offer_value_cents`, the value per
      tested customer.

    `deciles` are `score_deciles(scored)`, where the caller has them. A metric that has no value, because all customers
    are of one kind, has no row.
    """
    tenths = score_deciles(scored) if deciles is None else deciles
    per_model = _ranking_metrics(scored).join(_probability_metrics(scored, offer), on="model", how="inner")
    by_tenth = per_model.join(_decile_metrics(tenths), on="model", how="inner")
    error = F.when(F.col("brier").isNotNull(), F.col("calibration_error"))
    names = (*METRICS, *(OFFER_METRICS if offer else ()))
    pairs = F.array(*(F.struct(F.lit(name).alias("metric"), F.col(name).alias("value")) for name in names))
    figures = by_tenth.withColumn("calibration_error", error).select("model", "num_tested", F.inline(pairs))
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


def _decile_metrics(deciles: DataFrame) -> DataFrame:
    """One row per model, from ten."""
    customers, positives = F.sum("num_customers"), F.sum(F.col("num_customers") * F.col("observed_share"))
    first = F.col("decile") == 1
    of_first = F.sum(F.when(first, F.col("num_customers") * F.col("observed_share")))
    gap = F.abs(F.col("mean_probability") - F.col("observed_share"))
    return deciles.groupBy("model").agg(
        F.max(F.when(first, F.col("lift"))).alias("lift_at_top_decile"),
        # Of one kind of customers nothing can be gained, as nothing can be ranked.
        F.when(positives < customers, F.try_divide(of_first, positives)).alias("gain_at_top_decile"),
        (F.sum(F.col("num_customers") * gap) / customers).alias("calibration_error"),
    )


def _probability_metrics(scored: DataFrame, offer: Offer | None) -> DataFrame:
    """Null where scores are no probabilities, or all customers are of one kind."""
    happened = F.col("is_positive").cast("double")
    is_probability = (F.min("score") >= 0) & (F.max("score") <= 1)
    base_rate = F.count_if("is_positive") / F.count("*")
    is_fair = is_probability & (base_rate > 0) & (base_rate < 1)
    brier = exact_mean((F.col("score") - happened) ** 2)
    given = F.when(F.col("is_positive"), F.col("score")).otherwise(1 - F.col("score"))
    figures = {
        "brier": brier,
        "brier_skill": 1 - F.try_divide(brier, base_rate * (1 - base_rate)),
        "log_loss": exact_mean(-F.ln(F.greatest(given, F.lit(LEAST_PROBABILITY)))),
        **(_offer_metrics(offer) if offer else {}),
    }
    return scored.groupBy("model").agg(*(F.when(is_fair, figure).alias(name) for name, figure in figures.items()))


def _offer_metrics(offer: Offer) -> dict[str, Column]:
    is_offered, happened = F.col("score") >= offer.threshold, F.col("is_positive")
    outcomes = (is_offered & happened, is_offered & ~happened, ~is_offered & happened, ~is_offered & ~happened)
    shares = {name: F.count_if(outcome) / F.count("*") for name, outcome in zip(OUTCOMES, outcomes, strict=True)}
    hits, alarms = (shares[name] for name in OUTCOMES[:2])
    return shares | {"offer_value_cents": hits * offer.gain_cents - (hits + alarms) * offer.cost_cents}
