"""What a model must beat before it is put in use."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from clm_spark.models.registry import ModelVersion, Registry
from clm_spark.settings import Section
from clm_spark.tables.catalog import MODEL_METRICS

log = logging.getLogger(__name__)

ITEMS = "items"  # kept beside a recommender: the item_id of each item_index it learned
IN_USE = "in_use"  # the model that a candidate would replace, as a row among the baselines


@dataclass(frozen=True)
class Trial:
    """A candidate's figures beside its rivals', on data that none of them had seen.

    `figures` are rows of model, metric, value and num_tested. Of the baselines and rivals reported there, those in
    `must_beat` decide. `evidence` are further frames to keep beside the model, by name.
    """

    task: str
    candidate: str
    baselines: tuple[str, ...]
    must_beat: tuple[str, ...]
    decided_by: tuple[str, ...]
    figures: Sequence[Row]
    tested_on: date | None
    save: Callable[[str], None]
    evidence: Mapping[str, DataFrame] = field(default_factory=dict)

    def is_won(self) -> bool:
        """Whether the candidate is above all it must beat in each deciding metric; it may tie with what it replaces."""
        values = {(figure.model, figure.metric): figure.value for figure in self.figures}
        lost = []
        for metric in self.decided_by:
            ours = values.get((self.candidate, metric), float("-inf"))
            rivals = {model: values[model, metric] for model in self.must_beat if (model, metric) in values}
            lost += [
                f"{metric} {ours:.4f} against {theirs:.4f} of {model}"
                for model, theirs in rivals.items()
                if not (ours > theirs or (model == IN_USE and ours == theirs))
            ]
        if lost:
            log.warning("%s is not promoted: %s", self.candidate, "; ".join(lost))
        return not lost


def learned(
    registry: Registry,
    name: str,
    version: str,
    trial: Callable[[], Trial],
    *,
    params: Section,
    inputs: Mapping[str, int],
) -> ModelVersion:
    """The model of that version, put in use if its trial was won: found, or tried, saved and registered.

    Its figures and evidence are saved with it, so that a run that finds it writes the same rows as the one before.
    """
    model = registry.find(name, version) or _enter(trial(), registry, name, version, params=params, inputs=inputs)
    if model.metadata["is_promoted"] == "true":
        registry.elect(model, from_on=model.as_of)
    return model


def kept_beside(spark: SparkSession, model: ModelVersion, frame: str) -> DataFrame:
    """What was saved with the model: `metrics` as gold.model_metrics has them, or evidence of its trial."""
    return spark.read.parquet(f"{model.path}/{frame}")


def means_these_items(model: ModelVersion, items: DataFrame) -> bool:
    """Whether each item_index that a recommender learned still stands for the same item_id in `items`."""
    learned_items = kept_beside(items.sparkSession, model, ITEMS).withColumnRenamed("item_id", "learned_id")
    now = learned_items.join(items, on="item_index", how="left")
    return now.where(~F.col("learned_id").eqNullSafe(F.col("item_id"))).limit(1).count() == 0


def _enter(
    trial: Trial, registry: Registry, name: str, version: str, *, params: Section, inputs: Mapping[str, int]
) -> ModelVersion:
    def save(path: str) -> None:
        trial.save(path)
        for kept, frame in {"metrics": _metrics(trial, registry, version), **trial.evidence}.items():
            frame.coalesce(1).write.mode("overwrite").parquet(f"{path}/{kept}")

    return registry.register(
        name,
        trial.candidate,
        version,
        save=save,
        params=params.model_dump(),
        metrics={f"{figure.model}.{figure.metric}": figure.value for figure in trial.figures},
        inputs=inputs,
        metadata={"is_promoted": str(trial.is_won()).lower()},
    )


def _metrics(trial: Trial, registry: Registry, version: str) -> DataFrame:
    rows = [
        (
            trial.task,
            figure.model,
            figure.model in trial.baselines,
            figure.metric,
            registry.settings.as_of,
            trial.tested_on,
            float(figure.value),
            figure.num_tested,
            version,
        )
        for figure in trial.figures
    ]
    return SparkSession.active().createDataFrame(rows, MODEL_METRICS.schema)
