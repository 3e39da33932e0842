"""Logistic regression on logged features."""

from typing import Annotated, ClassVar

from pydantic import Field
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.sql import DataFrame

from clm_spark.models.classifier import LABEL, Classifier, Stage, with_linear_contributions
from clm_spark.models.customer_inputs import FEATURES, logged_features
from clm_spark.models.tuning import Tunable
from clm_spark.settings import Settings


class LogisticRegressionSettings(Tunable):
    """Logistic regression."""

    key: ClassVar[str] = "logistic_regression"
    regularization: Annotated[float, Field(ge=0)] = 0.01


class LoggedRegression(Classifier):
    """Logistic regression; MLlib scales the features itself."""

    name = "logistic_regression"
    words = "logistic regression"
    section = LogisticRegressionSettings
    features = FEATURES
    uses = (*Classifier.uses, "clm_spark.models.customer_inputs")

    def stages(self, settings: Settings) -> list[Stage]:
        """Logged features, then the regression."""
        strength = settings.of(LogisticRegressionSettings).regularization
        return [*logged_features(self.features), LogisticRegression(labelCol=LABEL, regParam=strength)]

    def contributed(self, pipeline: PipelineModel, rows: DataFrame) -> DataFrame | None:
        """The regression's own terms, against the mean customer among `rows`."""
        fitted = next(stage for stage in pipeline.stages if isinstance(stage, LogisticRegressionModel))
        coefficients = fitted.coefficients.toArray().tolist()
        return with_linear_contributions(pipeline.transform(rows), of="features", coefficients=coefficients)
