"""Classifiers: pipelines of Spark ML whose margin becomes a probability, set right on rows that the fit has not seen."""

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import Any, ClassVar

from pyspark.ml import Estimator, Pipeline, PipelineModel, Transformer
from pyspark.ml.feature import SQLTransformer, VectorAssembler, VectorSlicer
from pyspark.ml.functions import vector_to_array
from pyspark.ml.stat import Summarizer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.models.calibration import PROBABILITY, fit_sigmoid, keep_some, with_fold, without_summary
from clm_spark.models.fixed_order import in_fixed_order
from clm_spark.models.horizon import horizon_days_of
from clm_spark.models.reasons import CONTRIBUTIONS, with_reasons
from clm_spark.models.registry.flavours import load_spark_pipeline, save_spark_pipeline
from clm_spark.models.task import Inputs, Model
from clm_spark.models.tuning import Tunable, choose
from clm_spark.session import persisted
from clm_spark.settings import Settings

LABEL = "label"
Stage = Estimator[Any] | Transformer


class Classifier(Model):
    """A trained classifier: `stages` end in one that gives `rawPrediction`.

    Its rows bear `label`, 0 or 1. What is saved is one pipeline that ends in `calibrated_probability`: Platt's sigmoid
    (Platt 1999) over the margin, fitted on out-of-fold margins of the same stages on the same rows.
    """

    uses: ClassVar[tuple[str, ...]] = (
        "clm_spark.models.calibration",
        "clm_spark.models.fixed_order",
        "clm_spark.models.reasons",
        "clm_spark.models.tuning",
    )
    packages: ClassVar[tuple[str, ...]] = ()  # that its stages need beside Spark's

    def settings_used(self, settings: Settings) -> list[str]:
        """Its own section, and how the folds of the calibration are drawn."""
        return [*super().settings_used(settings), f"{settings.evaluation.folds} folds by {settings.evaluation.seed}"]

    def stages(self, settings: Settings) -> list[Stage]:
        """What is fitted, in order."""
        raise NotImplementedError

    def num_partitions(self, settings: Settings) -> int | None:
        """How many it would move the rows to anyway, losing their order; None: it takes them where they are."""
        return None

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Fit the stages and the sigmoid, and save both as one pipeline."""
        fitted, asked = self.fitted(inputs.rows, self.tuned(inputs)), inputs.rows.select(*self.features)
        save_spark_pipeline(fitted, path, rows=asked, answer=PROBABILITY, packages=self.packages)

    def tuned(self, inputs: Inputs) -> Settings:
        """The settings, with what the section's grid leaves open chosen by days of `inputs`."""
        settings: Settings = inputs.settings
        section = settings.of(self.section) if self.section is not None else None
        if not isinstance(section, Tunable) or not section.grid:
            return settings

        def scored(variant: Tunable, rows: DataFrame, later: DataFrame) -> DataFrame:
            stages = self.stages(settings.with_section(variant))
            # Like the fit itself, in a fixed order: the same rows give the same choice.
            return _fit(stages, self._ordered(rows, settings)).transform(later)

        days = horizon_days_of(settings, self.task)
        with persisted(self._asked(inputs.rows, LABEL)) as rows:
            chosen = choose(section, rows, horizon_days=days, scored=scored, name=f"{self.task} by {self.name}")
        return settings.with_section(chosen)

    def fitted(self, rows: DataFrame, settings: Settings) -> PipelineModel:
        """The pipeline that `fit` saves. What needs no fitting is done once, and its features are persisted."""
        stages = [*self.stages(settings), VectorSlicer(inputCol="rawPrediction", outputCol="margin", indices=[1])]
        first_fitted = next(n for n, stage in enumerate(stages) if isinstance(stage, Estimator))
        before: list[Any] = stages[:first_fitted]
        after = stages[first_fitted:]
        asked = self._asked(rows, LABEL)
        prepared = PipelineModel(before).transform(asked).select("customer_id", "as_of", LABEL, "features")
        folds = settings.evaluation.folds
        ordered = self._ordered(prepared, settings)
        with persisted(with_fold(ordered, folds=folds, seed=settings.evaluation.seed)) as folded:
            num_rows = _checked_folds(folded)
            held_out = (
                _fit(after, folded.where(F.col("fold") != fold)).transform(folded.where(F.col("fold") == fold))
                for fold in range(folds)
            )
            margins = reduce(DataFrame.unionByName, (each.select("customer_id", "margin", LABEL) for each in held_out))
            sigmoid = fit_sigmoid(keep_some(margins, num_rows=num_rows))
            return PipelineModel([*before, *_fit(after, folded).stages, sigmoid])

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """One row per customer and as_of: the calibrated probability as `value`."""
        scored = load_spark_pipeline(path).transform(self._asked(inputs.rows))
        return scored.select("customer_id", "as_of", _probability().alias("value"))

    def explain(self, path: str, inputs: Inputs, *, outcome: str) -> DataFrame:
        """As `score`, with `reasons`: null where the model cannot tell what moved a score."""
        pipeline = load_spark_pipeline(path)
        contributed = self.contributed(pipeline, self._asked(inputs.rows))
        if contributed is None:
            return self.score(path, inputs).withColumn("reasons", F.lit(None).cast("array<string>"))
        slope = float(pipeline.stages[-1].coefficients[0])  # type: ignore[attr-defined]
        told = with_reasons(contributed, features=self.features, slope=slope, outcome=outcome)
        return told.select("customer_id", "as_of", _probability().alias("value"), "reasons")

    def _ordered(self, rows: DataFrame, settings: Settings) -> DataFrame:
        return in_fixed_order(rows, "customer_id", "as_of", num_partitions=self.num_partitions(settings))

    def _asked(self, rows: DataFrame, *more: str) -> DataFrame:
        """What of the rows it looks at: a plan of two hundred columns is analysed anew at every step."""
        return rows.select("customer_id", "as_of", *more, *self.features)

    def contributed(self, pipeline: PipelineModel, rows: DataFrame) -> DataFrame | None:
        """The scored rows with `contributions`, what each of `features` adds to the `margin`; None: it cannot tell.

        Contributions and a number that is the same for all customers sum to the margin.
        """
        return None


class Rule(Classifier):
    """A figure of the customer that says how likely, without any training: only the sigmoid is fitted to it."""

    is_rule: ClassVar[bool] = True
    expression: ClassVar[str]  # SQL over the features: high for those it would pick

    def fitted(self, rows: DataFrame, settings: Settings) -> PipelineModel:
        """The figure as the margin; every row is out of fold."""
        figure = f"SELECT *, coalesce(CAST({self.expression} AS DOUBLE), 0D) AS figure FROM __THIS__"
        stages: list[Transformer] = [
            SQLTransformer(statement=figure),
            VectorAssembler(inputCols=["figure"], outputCol="margin"),
        ]
        scored = PipelineModel(stages).transform(self._asked(rows, LABEL))
        sigmoid = fit_sigmoid(keep_some(scored, num_rows=rows.count()))
        return PipelineModel([*stages, sigmoid])

    def contributed(self, pipeline: PipelineModel, rows: DataFrame) -> DataFrame | None:
        """The figure less that of the mean customer, where it is made of one feature."""
        if len(self.features) > 1:
            return None
        return with_linear_contributions(pipeline.transform(rows), of="margin", coefficients=[1.0])


def with_linear_contributions(scored: DataFrame, *, of: str, coefficients: Sequence[float]) -> DataFrame:
    """Add `contributions`: each coefficient times what the customer's value is above the mean of all `scored` rows.

    `of` names the vector of values. The terms are exact: with the margin of the mean customer they sum to the margin.
    """
    means = scored.agg(Summarizer.mean(F.col(of))).collect()[0][0]  # one number per feature
    weights, centre = (F.array(*map(F.lit, map(float, numbers))) for numbers in (coefficients, means))
    term = F.transform(vector_to_array(F.col(of)), lambda x, place: (x - F.get(centre, place)) * F.get(weights, place))
    return scored.withColumn(CONTRIBUTIONS, term)


def _probability() -> Column:
    return vector_to_array(F.col(PROBABILITY))[1]


def _checked_folds(folded: DataFrame) -> int:
    """The number of rows.

    Raises `TooLittleDataError` where a label is in fewer than two folds: outside one of them nobody would have it.
    """
    counted = folded.groupBy(LABEL, "fold").count().collect()  # two rows per fold
    num_folds = Counter(row[LABEL] for row in counted)
    for label in (0.0, 1.0):
        if num_folds[label] < 2:
            raise TooLittleDataError(
                f"its probabilities cannot be calibrated: customers of label {label:.0f} are in {num_folds[label]} of the "
                "folds that they are divided into, and two are needed; wait for more customers"
            )
    return sum(row["count"] for row in counted)


def _fit(stages: list[Stage], rows: DataFrame) -> PipelineModel:
    fitted = Pipeline(stages=list(stages)).fit(rows)
    for stage in fitted.stages:
        without_summary(stage)
    return fitted
