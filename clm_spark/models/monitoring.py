"""Models in use, watched: their age, whether scores and features have moved, and what came of what they predicted."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.evaluation.classification import classification_metrics
from clm_spark.features.drift import feature_drift
from clm_spark.features.labels import known_labels
from clm_spark.models.catalogue import TASKS, find_model
from clm_spark.models.classification import ClassificationTask
from clm_spark.models.registry import ModelVersion, Registry
from clm_spark.models.task import Task
from clm_spark.session import persisted
from clm_spark.tables.catalog import (
    CUSTOMER_FEATURES,
    CUSTOMER_SCORES,
    FEATURE_DRIFT,
    MODEL_METRICS,
    MODEL_MONITORING,
)
from clm_spark.tables.lake import Lake

# The tasks whose answers are of customers and come true or not.
WATCHED = tuple(task for task in TASKS if CUSTOMER_SCORES in task.writes)
TESTED = ("auc", "average_precision")  # figures that are held against their interval of the test


@dataclass(frozen=True)
class Reading:
    """One figure of a model in use, and the limits beyond which it is worth a look."""

    figure: str
    value: float
    num_customers: int | None = None
    low: float | None = None
    high: float | None = None
    scored_on: date | None = None  # the as_of of the scores that were held against what came

    @property
    def is_beyond(self) -> bool:
        """Whether it is below the lower limit or above the upper one."""
        return (self.low is not None and self.value < self.low) or (self.high is not None and self.value > self.high)


def model_monitoring(lake: Lake) -> DataFrame:
    """One row per watched task with a model in use and figure, as gold.model_monitoring declares; a few rows."""
    registry, as_of, rows = Registry(lake.settings), lake.settings.as_of, []
    for task in WATCHED:
        served = registry.champion(task.name, as_of)
        if served is None:
            continue
        for each in readings(lake, task, served):
            figures = (each.figure, each.value, each.low, each.high, each.is_beyond, each.scored_on, each.num_customers)
            rows.append((as_of, task.name, served.model, served.version, *figures))
    return lake.spark.createDataFrame(rows, MODEL_MONITORING.schema)


def readings(lake: Lake, task: Task, served: ModelVersion) -> Iterator[Reading]:
    """The figures of a task's model in use that can be told by now."""
    limits = lake.settings.monitoring
    yield Reading("age_days", float((lake.settings.as_of - served.as_of).days), high=float(limits.max_age_days))
    yield from _drifted_features(lake, served)
    if lake.exists(CUSTOMER_SCORES):
        scores = lake.read(CUSTOMER_SCORES).where((F.col("score") == task.name) & ~F.col("is_fallback"))
        yield from _moved_scores(lake, scores, served)
        yield from _what_came(lake, task, scores)


def _drifted_features(lake: Lake, served: ModelVersion) -> Iterator[Reading]:
    """The share of the model's features that check_drift found drifted; none where it had no earlier day."""
    model = find_model(served.task, served.model)
    if model is None or not model.features or not lake.exists(FEATURE_DRIFT):
        return
    is_its = (F.col("table_name") == CUSTOMER_FEATURES.title) & F.col("feature").isin(*model.features)
    told = lake.read_as_of(FEATURE_DRIFT).where(is_its)
    row = told.agg(
        F.count("*").alias("n"), F.count_if("has_drifted").alias("drifted"), F.min("num_rows").alias("rows")
    ).head()
    if row is not None and row["n"]:
        limit = lake.settings.monitoring.max_drifted_share
        yield Reading("drifted_features_share", row["drifted"] / row["n"], num_customers=row["rows"], high=limit)


def _moved_scores(lake: Lake, scores: DataFrame, served: ModelVersion) -> Iterator[Reading]:
    """How far today's scores are from those that the same version gave on the day that it was trained."""
    as_of, asked, first = lake.settings.as_of, lake.settings.drift, served.as_of
    of_version = scores.where(F.col("model_version") == served.version)
    now, before = (of_version.where(F.col("as_of") == F.lit(day)) for day in (as_of, first))
    if first >= as_of or now.isEmpty() or before.isEmpty():
        return
    for row in feature_drift(now, before, ["value"]).collect():  # one
        num_customers = min(row["num_rows"], row["num_rows_before"])
        limit = asked.max_psi if num_customers >= asked.min_rows else None
        yield Reading("score_psi", row["psi"], num_customers, high=limit, scored_on=first)


def _what_came(lake: Lake, task: Task, scores: DataFrame) -> Iterator[Reading]:
    """How right the scores were whose horizon ended this morning, whichever version gave them."""
    as_of, limits = lake.settings.as_of, lake.settings.monitoring
    horizon_days = task.horizon_days(lake.settings)
    assert horizon_days is not None  # of tasks that score customers
    scored_on = as_of - timedelta(days=horizon_days)
    made = scores.where(F.col("as_of") == F.lit(scored_on))
    if made.isEmpty():
        return
    with persisted(_held_against_labels(lake, task, made, scored_on=scored_on, horizon_days=horizon_days)) as tested:
        sums = tested.agg(F.sum("score").alias("expected"), F.sum("came").alias("came"), F.count("*").alias("n")).head()
        assert sums is not None
        is_told, of_scores = sums["n"] >= limits.min_customers, {"num_customers": sums["n"], "scored_on": scored_on}
        if isinstance(task, ClassificationTask):
            least = _lower_bounds(lake, task, scored_on, num_scored=sums["n"]) if is_told else {}
            figures = classification_metrics(tested.withColumn("is_positive", F.col("came") > 0))
            for row in figures.where(F.col("metric").isin(*TESTED)).collect():  # two
                yield Reading(f"realised_{row['metric']}", row["value"], low=least.get(row["metric"]), **of_scores)
        if sums["expected"]:
            most = limits.max_miscalibration
            low, high = (1 / most, most) if is_told else (None, None)
            yield Reading("observed_per_expected", sums["came"] / sums["expected"], low=low, high=high, **of_scores)


def _held_against_labels(lake: Lake, task: Task, scores: DataFrame, *, scored_on: date, horizon_days: int) -> DataFrame:
    """The scores of one day with `came`, as known this morning: 1 where it happened, else 0; of a value, the cents."""
    known_on = lake.settings.as_of
    labels = known_labels(lake, scores, days=[scored_on], known_on=known_on, horizon_days=horizon_days)
    came = F.expr(task.positive) if isinstance(task, ClassificationTask) else F.col("net_revenue_ahead_cents")
    happened = labels.select("customer_id", came.cast("double").alias("came"))
    named = scores.select(F.lit(task.name).alias("model"), "customer_id", F.col("value").alias("score"))
    return named.join(happened, on="customer_id", how="inner")


def _lower_bounds(lake: Lake, task: Task, scored_on: date, *, num_scored: int) -> dict[str, float]:
    """How low a figure may be by chance, by metric: as far below the test's as both samples of customers may differ.

    The test's lower bound says how far its own customers move the figure; those of today, `num_scored` of them, move it, too.
    """
    is_its = (F.col("task") == task.name) & F.col("is_champion") & F.col("metric").isin(*TESTED)
    known = lake.read(MODEL_METRICS).where(is_its & F.col("low").isNotNull() & (F.col("as_of") <= F.lit(scored_on)))
    newest = known.groupBy("metric").agg(
        *(F.max_by(name, "as_of").alias(name) for name in ("value", "low", "num_tested"))
    )
    return {
        row["metric"]: row["value"] - (row["value"] - row["low"]) * (1 + row["num_tested"] / num_scored) ** 0.5
        for row in newest.collect()  # two
    }
