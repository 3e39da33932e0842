"""Tasks that ask of a customer whether something will happen: their rows, figures and gold.customer_scores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.classification import classification_metrics, score_deciles
from clm_spark.evaluation.curves import METRICS, OFFER_METRICS
from clm_spark.evaluation.ranks import with_decile
from clm_spark.evaluation.samples import sampled_labels
from clm_spark.features.labels import answered_days, known_labels
from clm_spark.lifecycle.rfm import rfm_scores
from clm_spark.models.classifier import LABEL
from clm_spark.models.comparison import on_driver, stacked
from clm_spark.models.horizon import HorizonSettings
from clm_spark.models.registry import ModelVersion, fingerprint
from clm_spark.models.slices import RFM_CELL, SLICED_BY, SLICES, ClassifierComparison
from clm_spark.models.task import BASE_RATE, Comparison, Inputs, Split, Task
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import (
    CUSTOMER_DAYS,
    CUSTOMER_FEATURES,
    CUSTOMER_SCORES,
    IDENTITIES,
    SCORE_DECILES,
    SLICE_METRICS,
)
from clm_spark.tables.lake import Lake


class ClassificationTask(Task):
    """Its answers have customer_id, as_of and `value`, a probability; its truth customer_id and is_positive.

    Rows are those of gold.customer_features, of active customers, on the days of the panel.
    """

    positive: ClassVar[str]  # SQL over the labels of `features.labels`: it happened
    section: ClassVar[type[HorizonSettings]]
    grain = "customer"
    population = "customers who bought in the `active_days` before as_of"
    metrics = (*METRICS, *OFFER_METRICS)
    decided_by = "average_precision"
    areas = ("evaluation", "rfm")  # slices are by RFM cell
    reads = (CUSTOMER_FEATURES, CUSTOMER_DAYS, IDENTITIES)
    asks = reads  # the outcomes of before are the base rate, where no model is in use
    writes = (CUSTOMER_SCORES,)
    reports = (SCORE_DECILES, SLICE_METRICS)

    def horizon_days(self, settings: Settings) -> int:
        """Those of its section."""
        return int(settings.of(self.section).horizon_days)

    @contextmanager
    def split(self, lake: Lake) -> Iterator[Split]:
        """Tested on the last as_of whose labels are known, by what trains on labels as they were known on that morning."""
        horizon_days, as_of = self.horizon_days(lake.settings), lake.settings.as_of
        days = answered_days(lake.settings, horizon_days=horizon_days)
        with ExitStack() as stack:
            rows = stack.enter_context(persisted(self._labelled(lake, days, known_on=as_of)))
            tested_on = last_answered_day(rows, task=self.name, horizon_days=horizon_days)
            tested = rows.where(F.col("as_of") == F.lit(tested_on))
            # An order that became known only later, or a link between two ids, must not be in what the test's models saw.
            until = tested_on - timedelta(days=horizon_days)
            before = self._labelled(lake, [day for day in days if day <= until], known_on=tested_on)
            closed = stack.enter_context(persisted(before))
            cells = rfm_scores(tested, settings=lake.settings.rfm).select("customer_id", F.col("cell").alias(RFM_CELL))
            sliced = tested.join(cells, on="customer_id", how="left")
            yield Split(
                past=Inputs(lake, tested_on, closed),
                test=Inputs(lake, tested_on, tested.drop(LABEL)),
                truth=sliced.select("customer_id", (F.col(LABEL) > 0).alias("is_positive"), *SLICED_BY),
                now=Inputs(lake, lake.settings.as_of, rows),
                tested_on=tested_on,
                fingerprint=fingerprint(rows),
            )

    def population_rows(self, lake: Lake) -> Inputs:
        """The active customers of as_of."""
        return Inputs(lake, lake.settings.as_of, self._active(lake, lake.read_as_of(CUSTOMER_FEATURES)))

    def compare(self, answers: Mapping[str, DataFrame], split: Split) -> Comparison:
        """AUC and the others of all entrants, on the same customers."""
        scored = stacked(answers).select("model", "customer_id", F.col("value").alias("score"))
        offer = split.now.settings.of(self.section).offer
        with persisted(scored.join(split.truth, on="customer_id", how="inner")) as tested:
            asked, deciles = split.now.settings.evaluation, on_driver(score_deciles(tested))
            sample = sampled_labels(tested, seed=asked.seed, most=asked.max_customers, offer=offer, slices=SLICES)
            return ClassifierComparison.of(
                classification_metrics(tested, deciles=deciles, offer=offer),
                sample,
                decided_by=self.decided_by,
                settings=asked,
                further=[(SCORE_DECILES, deciles.withColumn("score", F.lit(self.name)))],
            ).of_score(self.name, tested.sparkSession)

    def write(self, lake: Lake, answers: DataFrame, served: ModelVersion) -> None:
        """The probability of every customer of as_of, with its decile and reasons."""
        self._write(lake, answers, model=served.model, version=served.version)

    def write_fallback(self, lake: Lake) -> str | None:
        """The base rate for every customer of as_of, where outcomes are known of anybody.

        (positives + 1) / (customers + 2) of the panel's days, Laplace's rule of succession: few customers, or customers of
        one kind, give no certainty.
        """
        if not (lake.exists(CUSTOMER_FEATURES) and lake.exists(CUSTOMER_DAYS)):
            return None
        days = answered_days(lake.settings, horizon_days=self.horizon_days(lake.settings))
        known = self._labelled(lake, days, known_on=lake.settings.as_of).agg(F.sum(LABEL), F.count("*")).collect()[0]
        rows = self.population_rows(lake).rows
        if not known[1] or rows.isEmpty():
            return None
        rate = (known[0] + 1) / (known[1] + 2)
        why = f"base rate of {known[1]:,} customers and days whose outcome is known"
        answers = rows.select(
            "customer_id",
            "as_of",
            F.lit(rate).alias("value"),
            F.array(F.lit(f"{why}; no model is in use")).alias("reasons"),
        )
        self._write(lake, answers, model=BASE_RATE, version=f"{BASE_RATE}-{lake.settings.as_of}")
        return f"everybody gets {rate:.3f}, the {why}"

    def _write(self, lake: Lake, answers: DataFrame, *, model: str, version: str) -> None:
        with persisted(answers) as scored:
            named = with_decile(scored, score="value", within=["as_of"]).withColumns(
                {
                    "score": F.lit(self.name),
                    "unit": F.lit("probability"),
                    "is_fallback": F.lit(model == BASE_RATE),
                    "model": F.lit(model),
                    "model_version": F.lit(version),
                    **{name: F.lit(None).cast("double") for name in ("low", "high")},
                    "label": F.lit(None).cast("string"),
                }
            )
            rows = named.select(CUSTOMER_SCORES.schema.names)
            lake.replace(rows, into=CUSTOMER_SCORES, as_of=lake.settings.as_of, score=self.name)

    def _active(self, lake: Lake, features: DataFrame) -> DataFrame:
        """Whoever left long ago is no longer asked about."""
        return features.where(F.col("purchase_recency_days") <= lake.settings.of(self.section).active_days)

    def _labelled(self, lake: Lake, days: Sequence[date], *, known_on: date) -> DataFrame:
        """Active customers of `days`, with `label`, 0 or 1, by what was known on the morning of `known_on`."""
        customers = self._active(lake, lake.read(CUSTOMER_FEATURES).where(F.col("as_of").isin(days)))
        horizon_days = self.horizon_days(lake.settings)
        labels = known_labels(lake, customers, days=days, known_on=known_on, horizon_days=horizon_days)
        happened = labels.select("customer_id", "as_of", F.expr(self.positive).cast("double").alias(LABEL))
        return customers.join(happened, on=["customer_id", "as_of"], how="inner")


def last_answered_day(labelled: DataFrame, *, task: str, horizon_days: int) -> date:
    """The last as_of of `labelled`, once it and the days closed by then hold customers of both labels.

    Raises `TooLittleDataError` where there is too little to train on or to test on.
    """
    num = labelled.groupBy("as_of").agg(F.sum(LABEL).cast("bigint").alias("positive"), F.count("*").alias("all"))
    counted = num.collect()  # a row per day of the panel
    advice = f"give a later --as-of, a larger features.panel_size or a shorter {task}.horizon_days"
    if not counted:
        raise TooLittleDataError(
            f"{task} cannot be trained: nobody can be asked on a day whose {horizon_days} days to come have passed; {advice}"
        )
    tested_on: date = max(row.as_of for row in counted)
    until = tested_on - timedelta(days=horizon_days)
    for what, rows in {
        f"on {tested_on}": [row for row in counted if row.as_of == tested_on],
        f"up to {until}": [row for row in counted if row.as_of <= until],
    }.items():
        positive, asked_of = sum(row["positive"] for row in rows), sum(row["all"] for row in rows)
        if not 0 < positive < asked_of:
            raise TooLittleDataError(
                f"{task} cannot be trained: {what}, it happened to {positive} of {asked_of} customers within "
                f"{horizon_days} days, and both kinds are needed; {advice}"
            )
    return tested_on
