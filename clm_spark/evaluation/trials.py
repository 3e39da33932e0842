"""One trial per model: learn from the past, test on days after it beside its rivals, then learn from all there is."""

from collections.abc import Mapping
from datetime import date, timedelta
from functools import reduce

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import ModelError
from clm_spark.evaluation.classification import classification_metrics, score_deciles
from clm_spark.evaluation.gates import IN_USE, ITEMS, Trial
from clm_spark.evaluation.ranking import ranking_metrics
from clm_spark.features.panel import tested_from
from clm_spark.models.als import fit_als, recommend_by_als, save_als
from clm_spark.models.churn import (
    RULES,
    calibrated,
    fit_churn,
    fit_logistic,
    keep_closed_by,
    load_churn,
    rule_score,
    score_churn,
)
from clm_spark.models.popularity import recommend_by_popularity, recommend_own_favourites
from clm_spark.models.registry import ModelVersion
from clm_spark.models.segments import assign_segments, fit_segments, load_segments, silhouette, with_random_segment
from clm_spark.settings import ChurnSettings, Settings
from clm_spark.tables.catalog import SCORE_DECILES


def try_segments(customers: DataFrame, *, settings: Settings, in_use: ModelVersion | None) -> Trial:
    """Silhouette of K-Means against chance, and against the segments that are in use until now."""
    spark, asked = customers.sparkSession, settings.segments
    model = fit_segments(customers, settings=asked)
    assigned = assign_segments(model, customers)
    rivals = {"kmeans": assigned, "random": with_random_segment(assigned, seed=asked.seed)}
    if in_use is not None:
        rivals[IN_USE] = assign_segments(load_segments(in_use.path), customers)
    num_tested = customers.count()
    figures = [(name, "silhouette", silhouette(rows), num_tested) for name, rows in rivals.items()]
    return Trial(
        task="segments",
        candidate="kmeans",
        baselines=("random", IN_USE),
        must_beat=("random", IN_USE),
        decided_by=("silhouette",),
        figures=spark.createDataFrame(
            figures, "model string, metric string, value double, num_tested bigint"
        ).collect(),
        tested_on=None,
        save=lambda path: model.write().overwrite().save(f"{path}/model"),
    )


def try_churn(labelled: DataFrame, *, settings: Settings, in_use: ModelVersion | None) -> Trial:
    """Test on the last as_of whose answers are in, by models that saw only answers known on that morning.

    `labelled` are active customers of several as_of with `is_churned`; `in_use` a model of the tested day or before.
    Raises `ModelError` where there is too little to learn from or to test on.
    """
    asked = settings.churn
    tested_on = last_answered_day(labelled, asked)
    past = keep_closed_by(labelled, tested_on, horizon_days=asked.horizon_days)
    test = labelled.where(F.col("as_of") == F.lit(tested_on))
    forerunner = fit_churn(past, settings=asked)
    scores = {
        "gbt": score_churn(_calibrated_in_the_past(forerunner, past, asked), test),
        "logistic_regression": score_churn(fit_logistic(past), test),
        **{rule: test.select("customer_id", rule_score(rule).alias("probability")) for rule in RULES},
    }
    if in_use is not None:
        scores[IN_USE] = score_churn(load_churn(in_use.path), test)
    answers = test.select("customer_id", F.col("is_churned").alias("is_positive"))
    scored = stacked(scores).select("model", "customer_id", F.col("probability").alias("score"))
    tested = scored.join(answers, on="customer_id", how="inner").persist()
    deciles = score_deciles(tested).withColumns(
        {"score": F.lit("churn"), "as_of": F.lit(settings.as_of), "tested_on": F.lit(tested_on)}
    )
    # What is kept learns from the tested day too; its probabilities are set right by a forerunner that did not.
    final = calibrated(fit_churn(labelled, settings=asked), test, trained=forerunner)
    return Trial(
        task="churn",
        candidate="gbt",
        baselines=(*RULES, IN_USE),
        must_beat=(*RULES, IN_USE),
        decided_by=("auc", "average_precision"),
        figures=classification_metrics(tested).collect(),
        tested_on=tested_on,
        save=lambda path: final.write().overwrite().save(f"{path}/model"),
        evidence={"deciles": deciles.select(SCORE_DECILES.schema.names)},
    )


def try_als(
    interactions: DataFrame,
    past: DataFrame,
    truth: DataFrame,
    vocabularies: DataFrame,
    *,
    settings: Settings,
    workplace: str,
    in_use: ModelVersion | None,
) -> Trial:
    """Learn from `past`, foretell `truth`, then learn from all `interactions`.

    `past` is as of the day from which `truth` (customer_id, item_id) was bought; `vocabularies` holds that day's and
    as_of's. The customers tested are those known on that day. The forerunner's factors are kept in `workplace` for the executors to read.
    """
    check_past(past, settings)
    asked, wanted = settings.als, settings.recommend
    top_k, hide_seen = max(wanted.top_k, 20), wanted.hide_seen
    save_als(fit_als(past, settings=asked), past, workplace)
    lists = {
        "als": recommend_by_als(past, model_path=workplace, top_k=top_k, hide_seen=hide_seen),
        "popularity": recommend_by_popularity(past, top_k=top_k, hide_seen=hide_seen),
    }
    if not hide_seen:
        lists["own_favourites"] = recommend_own_favourites(past, top_k=top_k)
    if in_use is not None:
        lists[IN_USE] = recommend_by_als(past, model_path=in_use.path, top_k=top_k, hide_seen=hide_seen)
    tested = truth.join(past, on="customer_id", how="left_semi")
    vocabulary = items_at(vocabularies, tested_from(settings))
    ranked = stacked(lists).join(vocabulary, on="item_index", how="inner").persist()
    figures = ranking_metrics(ranked, tested).collect()
    ranked.unpersist()
    final = fit_als(interactions, settings=asked)
    return Trial(
        task="recommendation",
        candidate="als",
        baselines=("popularity", "own_favourites", IN_USE),
        must_beat=("popularity", IN_USE),
        decided_by=("recall_at_20", "ndcg_at_10"),
        figures=figures,
        tested_on=tested_from(settings),
        save=lambda path: save_als(final, interactions, path),
        evidence={ITEMS: items_at(vocabularies, settings.as_of)},
    )


def items_at(vocabularies: DataFrame, day: date) -> DataFrame:
    """item_index and item_id as of a day."""
    return vocabularies.where(F.col("as_of") == F.lit(day)).select("item_index", "item_id")


def check_past(past: DataFrame, settings: Settings) -> None:
    """Refuse a test that starts before anything was known."""
    if past.limit(1).count() == 0:
        raise ModelError(
            f"recommenders cannot be learned: nothing was known {settings.recommend.test_days} days before "
            f"{settings.as_of}; give a later --as-of or fewer recommend.test_days"
        )


def last_answered_day(labelled: DataFrame, asked: ChurnSettings) -> date:
    """The last as_of of `labelled`, once it and the days closed by then hold both who left and who stayed."""
    counted = labelled.groupBy("as_of").agg(F.count_if("is_churned").alias("left"), F.count("*").alias("n")).collect()
    tested_on = max((row.as_of for row in counted), default=date.min)
    until = tested_on - timedelta(days=asked.horizon_days) if counted else tested_on
    for what, rows in {
        f"on {tested_on}": [row for row in counted if row.as_of == tested_on],
        f"up to {until}": [row for row in counted if row.as_of <= until],
    }.items():
        left, asked_of = sum(row.left for row in rows), sum(row.n for row in rows)
        if not 0 < left < asked_of:
            raise ModelError(
                f"churn cannot be learned: {what}, {left} of {asked_of} customers left within {asked.horizon_days} "
                "days, and both kinds are needed; give a later --as-of, a larger features.panel_size "
                "or a shorter churn.horizon_days"
            )
    return tested_on


def _calibrated_in_the_past(forerunner: PipelineModel, past: DataFrame, asked: ChurnSettings) -> PipelineModel:
    """The forerunner as it would have been used on the tested morning; as it is where the past is too short."""
    try:
        calibrated_on = last_answered_day(past, asked)
    except ModelError:
        return forerunner
    before = keep_closed_by(past, calibrated_on, horizon_days=asked.horizon_days)
    held_out = past.where(F.col("as_of") == F.lit(calibrated_on))
    return calibrated(forerunner, held_out, trained=fit_churn(before, settings=asked))


def stacked(frames: Mapping[str, DataFrame]) -> DataFrame:
    """The rows of all frames, with the name of theirs in `model`."""
    named = (frame.withColumn("model", F.lit(name)) for name, frame in frames.items())
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), named)
