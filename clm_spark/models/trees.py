"""Trees of MLlib on logged features: one, a forest of them, and boosted ones."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field
from pyspark import Broadcast
from pyspark.ml import PipelineModel
from pyspark.ml.classification import (
    GBTClassificationModel,
    GBTClassifier,
    RandomForestClassificationModel,
    RandomForestClassifier,
)
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.ml.regression import DecisionTreeRegressionModel, DecisionTreeRegressor
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from clm_spark.models.classifier import LABEL, Classifier, Stage
from clm_spark.models.customer_inputs import FEATURES, logged_features
from clm_spark.models.reasons import CONTRIBUTIONS
from clm_spark.models.tree_shap import Leaf, contributions
from clm_spark.models.tuning import Tunable
from clm_spark.settings import Seed, Settings

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class GbtSettings(Tunable):
    """Gradient-boosted trees of MLlib."""

    key: ClassVar[str] = "gbt"
    max_iterations: Count = 60
    max_depth: Count = 2
    step_size: Annotated[float, Field(gt=0)] = 0.05
    subsample: Share = Field(0.5, description="share of the rows that each tree sees")
    feature_share: Share = Field(0.3, description="share of the features per split")
    min_leaf_customers: Count = 100
    seed: Seed = 7


class DecisionTreeSettings(Tunable):
    """A single decision tree."""

    key: ClassVar[str] = "decision_tree"
    max_depth: Count = 4
    min_leaf_customers: Count = 50
    seed: Seed = 7


class RandomForestSettings(Tunable):
    """A random forest."""

    key: ClassVar[str] = "random_forest"
    num_trees: Count = 60
    max_depth: Count = 6
    feature_share: Share = Field(0.3, description="share of the features per split")
    min_leaf_customers: Count = 20
    seed: Seed = 7


class _Trees(Classifier):
    features = FEATURES
    uses = (*Classifier.uses, "clm_spark.models.customer_inputs")  # not what explains: scores are the same without

    def contributed(self, pipeline: PipelineModel, rows: DataFrame) -> DataFrame | None:
        """Exact Shapley values of the trees (`tree_shap`), on the workers, in double precision."""
        leaves = next(found for stage in pipeline.stages if (found := leaves_of(stage)) is not None)
        sent = rows.sparkSession.sparkContext.broadcast(leaves)
        added = arrow_udf(_contributing(sent, num_features=len(self.features)), "array<double>")  # type: ignore[call-overload]
        return pipeline.transform(rows).withColumn(CONTRIBUTIONS, added(vector_to_array(F.col("features"))))


class Gbt(_Trees):
    """Gradient-boosted trees of MLlib, which grow one after the other, each in Spark jobs of its own.

    Optional: XGBoost fits the same kind of model in one job.
    """

    name = "gbt"
    words = "boosted trees"
    is_optional = True
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


def leaves_of(stage: Any) -> list[Leaf] | None:
    """The leaves of a fitted stage's trees, whose values sum to its margin; None where it has none.

    Read on the driver, where the trees are: as many as the settings ask for, however many customers there are.
    """
    if isinstance(stage, DecisionTreeRegressionModel):
        return list(_leaves(_root(stage), _prediction, {}))
    if isinstance(stage, RandomForestClassificationModel):
        return [leaf for tree in stage.trees for leaf in _leaves(_root(tree), _share_of_positives, {})]
    if isinstance(stage, GBTClassificationModel):
        weighted = zip(stage.trees, stage.treeWeights, strict=True)
        return [
            replace(leaf, value=weight * leaf.value)
            for tree, weight in weighted
            for leaf in _leaves(_root(tree), _prediction, {})
        ]
    return None


def _root(tree: Any) -> Any:
    return tree._java_obj.rootNode()


def _prediction(node: Any) -> float:
    return float(node.prediction())


def _share_of_positives(node: Any) -> float:
    negatives, positives = node.impurityStats().stats()
    return float(positives / (negatives + positives))


def _leaves(node: Any, value: Callable[[Any], float], asked: dict[int, tuple[float, float, float]]) -> Iterator[Leaf]:
    """Those below the node; `asked` has the bounds and the share of each feature on the way to it."""
    if not node.subtreeDepth():
        low, high, share = zip(*asked.values(), strict=True) if asked else ((), (), ())
        yield Leaf(value(node), tuple(asked), low, high, share)
        return
    split, num_rows = node.split(), node.impurityStats().count()
    feature, at = split.featureIndex(), split.threshold()
    least, most, passed = asked.get(feature, (-math.inf, math.inf, 1.0))
    ways = ((node.leftChild(), (least, min(most, at))), (node.rightChild(), (max(least, at), most)))
    for child, bounds in ways:
        part = passed * child.impurityStats().count() / num_rows
        yield from _leaves(child, value, {**asked, feature: (*bounds, part)})


def _contributing(
    sent: Broadcast[list[Leaf]], *, num_features: int
) -> Callable[[Iterator[pa.Array]], Iterator[pa.Array]]:
    def added(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            rows = np.asarray(batch.flatten(), dtype=np.float64).reshape(len(batch), num_features)
            found = contributions(sent.value, rows)
            ends = np.arange(len(rows) + 1, dtype=np.int32) * num_features
            yield pa.ListArray.from_arrays(pa.array(ends), pa.array(found.ravel()))

    return added
