"""Customer segments: the task."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta

import numpy as np
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.samples import Means
from clm_spark.evaluation.silhouette import customer_silhouette
from clm_spark.models.comparison import SampledComparison
from clm_spark.models.registry import ModelVersion, fingerprint
from clm_spark.models.segments.facts import read_facts
from clm_spark.models.segments.profiles import segment_profiles
from clm_spark.models.segments.settings import SegmentSettings
from clm_spark.models.segments.space import DRIFTING, FEATURES, scaling, silhouette
from clm_spark.models.task import Comparison, Inputs, Split, Task
from clm_spark.session import persisted
from clm_spark.tables.catalog import (
    CUSTOMER_FEATURES,
    FEATURE_DRIFT,
    MODEL_METRICS,
    SEGMENT_CHOICES,
    SEGMENT_PROFILES,
    SEGMENTS,
)
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


class Segmentation(Task):
    """Groups of customers who are alike."""

    name = "segments"
    question = "Which customers are alike?"
    grain = "customer"
    population = "every customer known as of the day"
    label = "none"
    metrics = ("silhouette",)
    decided_by = "silhouette"
    train_job = "train_segments"
    score_job = "assign_segments"
    section = SegmentSettings
    reads = (CUSTOMER_FEATURES, FEATURE_DRIFT)
    asks = (CUSTOMER_FEATURES,)
    writes = (SEGMENTS, SEGMENT_PROFILES, SEGMENT_CHOICES)
    keeps_numbers = True

    def reason_to_train(self, lake: Lake, incumbent: ModelVersion | None) -> str | None:
        """Segments that change every day are of no use: they are fitted on a schedule, or when features drift."""
        asked, as_of = lake.settings.of(SegmentSettings), lake.settings.as_of
        if incumbent is None:
            return "none are in use"
        if incumbent.model in lake.settings.evaluation.leave_out:
            return f"evaluation.leave_out names {incumbent.model}, which is in use"
        compared_on = _last_compared(lake) or incumbent.as_of
        due_on = compared_on + timedelta(days=asked.refit_every_days)
        if as_of >= due_on:
            return f"the last comparison is of {compared_on}"
        # Drift shows for as long as it looks back: one comparison answers it.
        may_drift = asked.refit_on_drift and as_of >= compared_on + timedelta(days=lake.settings.drift.against_days)
        drifted = _drifted(lake) if may_drift else []
        if drifted:
            return f"{', '.join(drifted)} drifted"
        log.info("segments of %s stay in use at least until %s", incumbent.version, due_on)
        return None

    @contextmanager
    def split(self, lake: Lake) -> Iterator[Split]:
        """No days follow: all customers of as_of are clustered, and the clusters held against the same customers."""
        with persisted(lake.read_as_of(CUSTOMER_FEATURES).select("customer_id", *FEATURES)) as customers:
            if customers.isEmpty():
                raise TooLittleDataError(f"customers cannot be segmented: none is known as of {lake.settings.as_of}")
            inputs = Inputs(lake, lake.settings.as_of, customers)
            yield Split(
                past=inputs,
                test=inputs,
                truth=customers.select("customer_id"),
                now=inputs,
                tested_on=None,
                fingerprint=fingerprint(customers),
            )

    def population_rows(self, lake: Lake) -> Inputs:
        """Every customer of as_of."""
        return Inputs(lake, lake.settings.as_of, lake.read_as_of(CUSTOMER_FEATURES))

    def compare(self, answers: Mapping[str, DataFrame], split: Split) -> Comparison:
        """Silhouettes of all entrants over the same points."""
        asked = split.now.settings.evaluation
        rows = split.now.rows
        points = scaling().fit(rows).transform(rows).select("customer_id", "scaled")
        with persisted(_beside(points, answers)) as assigned:
            num_tested = assigned.count()
            figures = [(name, "silhouette", silhouette(assigned, by=name), num_tested) for name in answers]
            measured = assigned.sparkSession.createDataFrame(
                figures, "model string, metric string, value double, num_tested bigint"
            )
            sample = _sampled_silhouettes(assigned, list(answers), most=asked.max_customers, num_rows=num_tested)
            return SampledComparison.of(measured, sample, decided_by=self.decided_by, settings=asked)

    def write(self, lake: Lake, answers: DataFrame, served: ModelVersion) -> None:
        """The segment of every customer, each segment in words, and why there are so many."""
        as_of, facts = lake.settings.as_of, read_facts(served.path)
        version = F.lit(served.version).alias("model_version")
        with persisted(answers.select("customer_id", "as_of", "segment", *FEATURES, version)) as assigned:
            lake.replace(assigned.select(SEGMENTS.schema.names), into=SEGMENTS, as_of=as_of)
            profiles = segment_profiles(assigned, facts=facts).select("*", version)
            lake.replace(profiles.select(SEGMENT_PROFILES.schema.names), into=SEGMENT_PROFILES, as_of=as_of)
        choices = [
            (
                as_of,
                each.words,
                each.k,
                each.largest_share,
                each.silhouette,
                each.stability,
                each.is_chosen,
                served.version,
            )
            for each in facts.candidates
        ]
        lake.replace(lake.spark.createDataFrame(choices, SEGMENT_CHOICES.schema), into=SEGMENT_CHOICES, as_of=as_of)


def _beside(points: DataFrame, answers: Mapping[str, DataFrame]) -> DataFrame:
    """Each customer's point, and the segment that every entrant puts the customer into, under the entrant's name."""
    for name, rows in answers.items():
        points = points.join(rows.select("customer_id", F.col("segment").alias(name)), on="customer_id", how="inner")
    return points


def _sampled_silhouettes(assigned: DataFrame, names: list[str], *, most: int, num_rows: int) -> Means:
    """Silhouettes of `most` customers chosen by hash, each within the sample: what the bootstrap draws from."""
    share = min(1.0, most / max(1, num_rows))
    draw = F.pmod(F.xxhash64("customer_id"), F.lit(1_000_000)) < F.lit(int(share * 1_000_000))
    drawn = assigned.where(draw).select("customer_id", vector_to_array(F.col("scaled")).alias("point"), *names)
    rows = drawn.toPandas().sort_values("customer_id", ignore_index=True)  # the bootstrap draws by place
    points = np.stack(rows["point"].to_list())
    of_models = [customer_silhouette(points, rows[name].to_numpy()) for name in names]
    return Means(np.stack(of_models, axis=1)[:, :, None], tuple(names), ("silhouette",))


def _last_compared(lake: Lake) -> date | None:
    """The last as_of before the run's for which segments were compared."""
    if not lake.exists(MODEL_METRICS):
        return None
    earlier = (F.col("task") == Segmentation.name) & (F.col("as_of") < F.lit(lake.settings.as_of))
    last = lake.read(MODEL_METRICS).where(earlier).agg(F.max("as_of")).head()
    return None if last is None else last[0]


def _drifted(lake: Lake) -> list[str]:
    if not lake.exists(FEATURE_DRIFT):
        return []
    drifted = lake.read_as_of(FEATURE_DRIFT).where(
        F.col("has_drifted") & (F.col("table_name") == CUSTOMER_FEATURES.title) & F.col("feature").isin(*DRIFTING)
    )
    return sorted(row.feature for row in drifted.select("feature").collect())  # of six at most
