"""events, identities, interactions, item_vocabulary -> model_metrics: learn who takes to what."""

from functools import partial

from clm_spark.evaluation.gates import kept_beside, learned
from clm_spark.evaluation.trials import try_als
from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.features.labels import bought_items
from clm_spark.features.panel import tested_from
from clm_spark.job import main
from clm_spark.models.registry import Registry
from clm_spark.settings import Settings
from clm_spark.tables.catalog import EVENTS, INTERACTIONS, ITEM_VOCABULARY, MODEL_METRICS
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Learn from the days before the test and foretell it, then learn from all days, or find the model that did."""
    registry, as_of, tested_on = Registry(settings), settings.as_of, tested_from(settings)
    pairs, past = lake.read_as_of(INTERACTIONS), lake.read_as_of(INTERACTIONS, tested_on)
    trial = partial(
        try_als,
        pairs,
        past,
        bought_items(with_person(lake.read_as_of(EVENTS), known_persons(lake, [tested_on])), since=tested_on),
        lake.read(ITEM_VOCABULARY),
        settings=settings,
        workplace=registry.staging("als"),
        in_use=registry.champion("als", tested_on),
    )
    version = registry.version("als", pairs, settings.als, settings.recommend)
    model = learned(registry, "als", version, trial, params=settings.als, inputs=lake.inputs)
    figures = kept_beside(lake.spark, model, "metrics")
    models = [row.model for row in figures.select("model").distinct().collect()]
    lake.replace(figures, into=MODEL_METRICS, as_of=as_of, task="recommendation", model=models)


if __name__ == "__main__":
    raise SystemExit(main(run))
