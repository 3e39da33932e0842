"""The transformer's trial; apart from the others', because it alone needs torch."""

import logging

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.evaluation.gates import IN_USE, ITEMS, Trial
from clm_spark.evaluation.ranking import ranking_metrics
from clm_spark.evaluation.trials import check_past, items_at, stacked
from clm_spark.features.panel import tested_from
from clm_spark.models.popularity import recommend_by_popularity
from clm_spark.models.registry import ModelVersion
from clm_spark.models.transformer.launch import fit_transformer
from clm_spark.models.transformer.score import score_customers_top_k
from clm_spark.models.transformer.train import TrainingResult
from clm_spark.settings import Settings

log = logging.getLogger(__name__)


def try_transformer(
    past: DataFrame,
    interactions: DataFrame,
    truth: DataFrame,
    vocabularies: DataFrame,
    *,
    location: str,
    version: int,
    settings: Settings,
    workplace: str,
    in_use: ModelVersion | None,
) -> Trial:
    """Learn from `past`, foretell `truth`, then go on learning from the sequences of as_of.

    `past` and `interactions` are item sequences and pairs as of the day from which `truth` (customer_id, item_id) was bought; `vocabularies`
    holds that day's and as_of's; `location` and `version` name the Delta table of sequences that the ranks read.
    """
    spark, wanted, asked = past.sparkSession, settings.recommend, settings.transformer
    tested_on = tested_from(settings)
    check_past(past, settings)
    sizes = {row.as_of: row.n for row in vocabularies.groupBy("as_of").agg(F.max("item_index").alias("n")).collect()}
    forerunner = f"{workplace}/model"
    _report(
        fit_transformer(
            spark,
            location=location,
            version=version,
            as_of=tested_on,
            num_items=sizes[tested_on],
            settings=asked,
            model_path=forerunner,
            epochs=asked.epochs,
        ),
        settings,
    )
    top_k, hide_seen = max(wanted.top_k, 20), wanted.hide_seen
    lists = {
        "transformer": score_customers_top_k(past, model_path=forerunner, top_k=top_k, hide_seen=hide_seen),
        "popularity": recommend_by_popularity(interactions, top_k=top_k, hide_seen=hide_seen),
    }
    if in_use is not None:
        path = f"{in_use.path}/model"
        lists[IN_USE] = score_customers_top_k(past, model_path=path, top_k=top_k, hide_seen=hide_seen)
    ranked = stacked(lists).join(items_at(vocabularies, tested_on), on="item_index", how="inner").persist()
    tested = truth.join(past, on="customer_id", how="left_semi")
    figures = ranking_metrics(ranked, tested).collect()
    ranked.unpersist()

    def save(path: str) -> None:
        # The days of the test are learned in a few more passes, from where the tested model stands.
        result = fit_transformer(
            spark,
            location=location,
            version=version,
            as_of=settings.as_of,
            num_items=sizes[settings.as_of],
            settings=asked,
            model_path=f"{path}/model",
            start_from=forerunner,
            epochs=asked.finetune_epochs,
        )
        _report(result, settings)

    return Trial(
        task="recommendation",
        candidate="transformer",
        baselines=("popularity", IN_USE),
        must_beat=("popularity", IN_USE),
        decided_by=("recall_at_20", "ndcg_at_10"),
        figures=figures,
        tested_on=tested_on,
        save=save,
        evidence={ITEMS: items_at(vocabularies, settings.as_of)},
    )


def _report(result: TrainingResult, settings: Settings) -> None:
    log.info(
        "transformer: %d ranks by %s on %s, %d sequences, loss %.3f to %.3f in %d epochs, %.0f s, %s items/s",
        result.ranks,
        settings.transformer.launcher,
        result.device,
        result.num_sequences,
        result.losses[0],
        result.losses[-1],
        len(result.losses),
        result.seconds,
        f"{result.items_per_second:,.0f}",
    )
