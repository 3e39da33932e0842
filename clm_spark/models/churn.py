"""Who will stop buying: the task, two trained classifiers and two rules."""

from typing import Annotated, ClassVar

from pydantic import Field
from pyspark.ml.classification import GBTClassifier, LogisticRegression
from pyspark.ml.feature import SQLTransformer, VectorAssembler

from clm_spark.models.classification import ClassificationTask, HorizonSettings
from clm_spark.models.classifier import LABEL, Classifier, Rule, Stage
from clm_spark.settings import Section, Settings
from clm_spark.tables.feature import windowed_name

# Chosen on The Complete Journey, see docs/tried.md.
EVER = (
    "tenure_days",
    "recency_days",
    "purchase_recency_days",
    "num_purchase_days",
    "num_orders",
    "net_revenue_cents",
    "mean_order_cents",
    "mean_gap_days",
    "overdue_ratio",
    "orders_trend",
)
WINDOWED = (
    "num_active_days",
    "num_visits",
    "num_views",
    "num_carts",
    "num_orders",
    "num_lines",
    "num_campaigns",
    "num_coupons",
    "net_revenue_cents",
    "discount_share",
)
FEATURES = (*EVER, *(windowed_name(stem, days) for days in (7, 30, 90) for stem in WINDOWED))


class ChurnSettings(HorizonSettings):
    """What churn means in this shop: no purchase in the horizon."""

    key: ClassVar[str] = "churn"


class GbtSettings(Section):
    """Gradient-boosted trees."""

    key: ClassVar[str] = "gbt"
    max_iterations: Annotated[int, Field(ge=1)] = 60
    max_depth: Annotated[int, Field(ge=1)] = 2
    step_size: float = 0.05
    subsample: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="share of the rows that each tree sees")
    feature_share: Annotated[float, Field(gt=0, le=1)] = Field(0.3, description="share of the features per split")
    min_leaf_customers: Annotated[int, Field(ge=1)] = 100
    seed: int = 7


class LogisticRegressionSettings(Section):
    """Logistic regression."""

    key: ClassVar[str] = "logistic_regression"
    regularization: Annotated[float, Field(ge=0)] = 0.01


class Churn(ClassificationTask):
    """No purchase in the horizon."""

    name = "churn"
    question = "Will an active customer buy nothing in the days to come?"
    label = "no order in the `churn.horizon_days` from as_of on"
    positive = "num_orders_ahead = 0"
    section = ChurnSettings
    train_job = "train_churn"
    score_job = "score_customers"


class Gbt(Classifier):
    """Gradient-boosted trees of MLlib on logged features."""

    name = "gbt"
    task = Churn.name
    words = "boosted trees"
    section = GbtSettings
    features = FEATURES

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
        return [*_logged_features(), trees]


class LoggedRegression(Classifier):
    """Logistic regression on the same features."""

    name = "logistic_regression"
    task = Churn.name
    words = "logistic regression"
    section = LogisticRegressionSettings
    features = FEATURES

    def stages(self, settings: Settings) -> list[Stage]:
        """Logged features, then the regression; MLlib scales them itself."""
        strength = settings.of(LogisticRegressionSettings).regularization
        return [*_logged_features(), LogisticRegression(labelCol=LABEL, regParam=strength)]


class RecencyRule(Rule):
    """Silent the longest."""

    name = "recency_rule"
    task = Churn.name
    words = "longest silence"
    features = ("purchase_recency_days",)
    expression = "purchase_recency_days"


class OrdersRule(Rule):
    """Bought the least."""

    name = "orders_rule"
    task = Churn.name
    words = "fewest orders"
    features = ("num_orders_90d",)
    expression = "-num_orders_90d"


def _logged_features() -> list[Stage]:
    """Counts and cents on a log scale, the unknown as zero: trees do not mind, and the regression needs it."""
    logged = (f"signum({f}) * ln(1 + abs({f}))" for f in FEATURES)
    columns = ", ".join(f"coalesce({x}, 0D) AS log_{f}" for x, f in zip(logged, FEATURES, strict=True))
    return [
        SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__"),
        VectorAssembler(inputCols=[f"log_{f}" for f in FEATURES], outputCol="features"),
    ]
