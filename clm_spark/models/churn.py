"""Who will stop buying: the task, its trained classifiers and two rules."""

from typing import ClassVar

from clm_spark.models.boosting import Xgboost
from clm_spark.models.classification import ClassificationTask
from clm_spark.models.classifier import Rule
from clm_spark.models.horizon import HorizonSettings
from clm_spark.models.linear import LoggedRegression
from clm_spark.models.task import Model
from clm_spark.models.transformer.head import TransformerHead
from clm_spark.models.trees import DecisionTree, Gbt, RandomForest


class ChurnSettings(HorizonSettings):
    """What churn means in this shop: no purchase in the horizon."""

    key: ClassVar[str] = "churn"


class Churn(ClassificationTask):
    """No purchase in the horizon."""

    name = "churn"
    question = "Will an active customer buy nothing in the days to come?"
    label = "no order in the `churn.horizon_days` from as_of on"
    outcome = "leaving"
    positive = "num_orders_ahead = 0"
    section = ChurnSettings
    train_job = "train_churn"
    score_job = "score_customers"


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


class ChurnRegression(LoggedRegression):
    """Logistic regression on churn."""

    task = Churn.name


class ChurnTree(DecisionTree):
    """A decision tree on churn."""

    task = Churn.name


class ChurnForest(RandomForest):
    """A random forest on churn."""

    task = Churn.name


class ChurnGbt(Gbt):
    """Boosted trees of MLlib on churn."""

    task = Churn.name


class ChurnXgboost(Xgboost):
    """Boosted trees of XGBoost on churn."""

    task = Churn.name


class ChurnHead(TransformerHead):
    """A head on the transformer that tells of churn."""

    task = Churn.name


# The simpler first: where two tie, the earlier is served.
ENTRANTS: tuple[Model, ...] = (
    RecencyRule(),
    OrdersRule(),
    ChurnRegression(),
    ChurnTree(),
    ChurnForest(),
    ChurnGbt(),
    ChurnXgboost(),
    ChurnHead(),
)
