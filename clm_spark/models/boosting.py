"""Gradient-boosted trees of XGBoost, trained on the workers and scored there."""

import logging
from typing import Annotated, ClassVar

from pydantic import Field
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.classifier import LABEL, Classifier, Stage
from clm_spark.models.customer_inputs import FEATURES, logged_features
from clm_spark.models.reasons import CONTRIBUTIONS
from clm_spark.models.tuning import Tunable
from clm_spark.settings import Seed, Settings

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class XgboostSettings(Tunable):
    """Gradient-boosted trees of XGBoost."""

    key: ClassVar[str] = "xgboost"
    num_trees: Count = 100
    max_depth: Count = 2
    step_size: Annotated[float, Field(gt=0)] = 0.05
    subsample: Share = Field(0.5, description="share of the rows that each tree sees")
    feature_share: Share = Field(0.15, description="share of the features per tree")
    min_leaf_weight: Annotated[float, Field(ge=0)] = Field(
        10.0, description="least sum of p (1 - p) over the customers of a leaf"
    )
    shrinkage: Annotated[float, Field(ge=0)] = Field(1.0, description="L2 penalty on the leaves' values")
    num_workers: Count = Field(
        1, description="Spark tasks that train together; each holds its part of the rows in memory"
    )
    seed: Seed = 7


class Xgboost(Classifier):
    """Boosted trees of XGBoost (Chen and Guestrin 2016) by histograms, all trees of a fit in one Spark job."""

    name = "xgboost"
    words = "XGBoost"
    section = XgboostSettings
    features = FEATURES
    uses = (*Classifier.uses, "clm_spark.models.customer_inputs")
    packages = ("scikit-learn", "xgboost-cpu")

    def stages(self, settings: Settings) -> list[Stage]:
        """Logged features, then the trees."""
        from xgboost.spark import SparkXGBClassifier  # here: importing it takes seconds, and few jobs need it

        logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)  # it tells of every fit, on the workers too
        asked = settings.of(XgboostSettings)
        trees = SparkXGBClassifier(
            features_col="features",
            label_col=LABEL,
            raw_prediction_col="rawPrediction",
            n_estimators=asked.num_trees,
            max_depth=asked.max_depth,
            learning_rate=asked.step_size,
            subsample=asked.subsample,
            colsample_bytree=asked.feature_share,
            min_child_weight=asked.min_leaf_weight,
            reg_lambda=asked.shrinkage,
            num_workers=asked.num_workers,
            random_state=asked.seed,
            tree_method="hist",
            verbosity=0,
            verbose=False,
        )
        return [*logged_features(self.features), trees]

    def num_partitions(self, settings: Settings) -> int | None:
        """One for each worker."""
        return settings.of(XgboostSettings).num_workers

    def contributed(self, pipeline: PipelineModel, rows: DataFrame) -> DataFrame | None:
        """TreeSHAP (Lundberg 2020) as XGBoost computes it, on the workers, in single precision."""
        from xgboost.spark import SparkXGBClassifierModel

        for stage in pipeline.stages:
            if isinstance(stage, SparkXGBClassifierModel):
                stage._set(pred_contrib_col="_shap")
        # One row per class, of which there is one; behind the features stands what all customers have in common.
        of_features = F.slice(F.get("_shap", 0), 1, len(self.features))
        return pipeline.transform(rows).withColumn(CONTRIBUTIONS, of_features)
