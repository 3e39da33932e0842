"""Trees of MLlib on logged features: one, a forest of them, and boosted ones."""

from typing import Annotated, ClassVar

from pydantic import Field
from pyspark.ml.classification import GBTClassifier, RandomForestClassifier
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import DecisionTreeRegressor

from clm_spark.models.classifier import LABEL, Classifier, Stage
from clm_spark.models.customer_inputs import FEATURES, logged_features
from clm_spark.models.tuning import Tunable
from clm_spark.settings import Settings

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class GbtSettings(Tunable):
    """Gradient-boosted trees of MLlib."""

    key: ClassVar[str] = "gbt"
    max_iterations: Count = 60
    max_depth: Count = 2
    step_size: float = 0.05
    subsample: Share = Field(0.5, description="share of the rows that each tree sees")
    feature_share: Share = Field(0.3, description="share of the features per split")
    min_leaf_customers: Count = 100
    seed: int = 7


class DecisionTreeSettings(Tunable):
    """A single decision tree."""

    key: ClassVar[str] = "decision_tree"
    max_depth: Count = 4
    min_leaf_customers: Count = 50
    seed: int = 7


class RandomForestSettings(Tunable):
    """A random forest."""

    key: ClassVar[str] = "random_forest"
    num_trees: Count = 60
    max_depth: Count = 6
    feature_share: Share = Field(0.3, description="share of the features per split")
    min_leaf_customers: Count = 20
    seed: int = 7


class _Trees(Classifier):
    features = FEATURES
    uses = (*Classifier.uses, "clm_spark.models.customer_inputs")


class Gbt(_Trees):
    """Gradient-boosted trees of MLlib, which grow one after the other, each in Spark jobs of its own."""

    name = "gbt"
    words = "boosted trees"
    section = GbtSettings

    def stages(self, settings: Settings) -> list[Stage]:
        """Logged features, then the trees."""
        asked = settings.of(GbtSettings)
        trees = GBTClassifier(
            labelCol=LABEL,
            maxIter=asked.max_iterations,
            maxDepth=asked.max_depth,
            stepSize=asked.step_size,
            subsamplingRate=asked.subsample,
            minInstancesPerNode=asked.min_leaf_customers,
            featureSubsetStrategy=str(asked.feature_share),
            seed=asked.seed,
        )
        return [*logged_features(self.features), trees]


class DecisionTree(_Trees):
    """One tree: few enough questions to be read.

    Grown as a regression on 0 and 1, whose variance is half of Gini's impurity: MLlib's classifier merges leaves of the
    same class, so that where few leave nothing is left of it.
    """

    name = "decision_tree"
    words = "decision tree"
    section = DecisionTreeSettings

    def stages(self, settings: Settings) -> list[Stage]:
        """Logged features, then the tree, whose leaves' shares are the margin."""
        asked = settings.of(DecisionTreeSettings)
        tree = DecisionTreeRegressor(
            labelCol=LABEL,
            maxDepth=asked.max_depth,
            minInstancesPerNode=asked.min_leaf_customers,
            seed=asked.seed,
        )
        share = VectorAssembler(inputCols=["prediction", "prediction"], outputCol="rawPrediction")
        return [*logged_features(self.features), tree, share]


class RandomForest(_Trees):
    """Many trees, each on a sample of the rows, grown level by level at the same time."""

    name = "random_forest"
    words = "random forest"
    section = RandomForestSettings

    def stages(self, settings: Settings) -> list[Stage]:
        """Logged features, then the trees."""
        asked = settings.of(RandomForestSettings)
        forest = RandomForestClassifier(
            labelCol=LABEL,
            numTrees=asked.num_trees,
            maxDepth=asked.max_depth,
            featureSubsetStrategy=str(asked.feature_share),
            minInstancesPerNode=asked.min_leaf_customers,
            seed=asked.seed,
        )
        return [*logged_features(self.features), forest]
