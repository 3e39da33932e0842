"""events, identities, interactions, item_sequences, item_vocabulary -> model_metrics: teach the transformer what comes next."""

from functools import partial

from clm_spark.evaluation.gates import kept_beside, learned
from clm_spark.evaluation.transformer import try_transformer
from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.features.labels import bought_items
from clm_spark.features.panel import tested_from
from clm_spark.job import main
from clm_spark.models.registry import Registry
from clm_spark.settings import Settings
from clm_spark.tables.catalog import EVENTS, INTERACTIONS, ITEM_SEQUENCES, ITEM_VOCABULARY, MODEL_METRICS
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Train on the days before the test and foretell it, then go on training through all days; or find that model."""
    registry, tested_on = Registry(settings), tested_from(settings)
    sequences = lake.read_as_of(ITEM_SEQUENCES)
    trial = partial(
        try_transformer,
        lake.read_as_of(ITEM_SEQUENCES, tested_on),
        lake.read_as_of(INTERACTIONS, tested_on),
        bought_items(with_person(lake.read_as_of(EVENTS), known_persons(lake, [tested_on])), since=tested_on),
        lake.read(ITEM_VOCABULARY),
        location=lake.location(ITEM_SEQUENCES),
        version=lake.version(ITEM_SEQUENCES),
        settings=settings,
        workplace=registry.staging("transformer"),
        in_use=registry.champion("transformer", tested_on),
    )
    version = registry.version("transformer", sequences, settings.transformer, settings.recommend)
    model = learned(registry, "transformer", version, trial, params=settings.transformer, inputs=lake.inputs)
    # Its rivals' figures are written by train_als, from the same test.
    figures = kept_beside(lake.spark, model, "metrics").where("model = 'transformer'")
    lake.replace(figures, into=MODEL_METRICS, as_of=settings.as_of, task="recommendation", model="transformer")


if __name__ == "__main__":
    raise SystemExit(main(run))
