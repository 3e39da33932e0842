"""interactions, item_sequences, item_vocabulary -> item_recommendations: every customer's list, from each recommender."""

import logging
from collections.abc import Callable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.evaluation.gates import means_these_items
from clm_spark.job import main
from clm_spark.models.als import recommend_by_als
from clm_spark.models.popularity import recommend_by_popularity
from clm_spark.models.registry import ModelVersion, Registry
from clm_spark.settings import Settings
from clm_spark.tables.catalog import INTERACTIONS, ITEM_RECOMMENDATIONS, ITEM_SEQUENCES, ITEM_VOCABULARY
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Write the lists of as_of: popularity for all, and those of each learned recommender that is in use."""
    wanted, day = settings.recommend, settings.as_of
    pairs, items = lake.read_as_of(INTERACTIONS), lake.read_as_of(ITEM_VOCABULARY).select("item_index", "item_id")

    def write(recommender: str, lists: DataFrame, version: str) -> None:
        named = lists.join(items, on="item_index", how="inner").withColumns(
            {"as_of": F.lit(day), "recommender": F.lit(recommender), "model_version": F.lit(version)}
        )
        rows = named.select(ITEM_RECOMMENDATIONS.schema.names)
        lake.replace(rows, into=ITEM_RECOMMENDATIONS, as_of=day, recommender=recommender)

    top_k, hide_seen = wanted.top_k, wanted.hide_seen
    write("popularity", recommend_by_popularity(pairs, top_k=top_k, hide_seen=hide_seen), f"popularity-{day}")
    learned: dict[str, Callable[[ModelVersion], DataFrame]] = {
        "als": lambda model: recommend_by_als(pairs, model_path=model.path, top_k=top_k, hide_seen=hide_seen),
        "transformer": lambda model: _by_transformer(lake.read_as_of(ITEM_SEQUENCES), model, settings),
    }
    registry = Registry(settings)
    for recommender, lists in learned.items():
        model = registry.champion(recommender, day)
        if model is None:
            log.warning("no %s model is in use on %s: it makes no lists", recommender, day)
        elif not means_these_items(model, items):
            log.warning(
                "%s learned other item numbers than today's: it makes no lists until trained anew", model.version
            )
        else:
            write(recommender, lists(model), model.version)


def _by_transformer(sequences: DataFrame, model: ModelVersion, settings: Settings) -> DataFrame:
    # Imported where it is needed: a shop without torch still gets the other lists.
    from clm_spark.models.transformer.score import score_customers_top_k

    wanted = settings.recommend
    return score_customers_top_k(
        sequences, model_path=f"{model.path}/model", top_k=wanted.top_k, hide_seen=wanted.hide_seen
    )


if __name__ == "__main__":
    raise SystemExit(main(run))
