"""Who will buy soon: the task on the same customers and features as churn, its classifiers and two rules."""

from typing import ClassVar

from pydantic import Field

from clm_spark.models.boosting import Xgboost
from clm_spark.models.classification import ClassificationTask
from clm_spark.models.classifier import Rule
from clm_spark.models.horizon import HorizonSettings
from clm_spark.models.linear import LoggedRegression
from clm_spark.models.task import Model
from clm_spark.models.transformer.head import TransformerHead
from clm_spark.settings import Days


class PurchaseSettings(HorizonSettings):
    """How soon a purchase counts."""

    key: ClassVar[str] = "purchase"
    horizon_days: Days = Field(30, description="days from as_of on that the label looks at")


class Purchase(ClassificationTask):
    """Any order in the horizon."""

    name = "purchase"
    question = "Will an active customer buy in the days to come?"
    label = "an order in the `purchase.horizon_days` from as_of on"
    outcome = "a purchase"
    positive = "num_orders_ahead > 0"
    section = PurchaseSettings
    train_job = "train_purchase"
    score_job = "score_purchase"


class LatelyRule(Rule):
    """Bought the latest."""

    name = "lately_rule"
    task = Purchase.name
    words = "bought lately"
    features = ("purchase_recency_days",)
    expression = "-purchase_recency_days"


class OftenRule(Rule):
    """Bought the most often."""

    name = "often_rule"
    task = Purchase.name
    words = "most orders"
    features = ("num_orders_90d",)
    expression = "num_orders_90d"


class PurchaseRegression(LoggedRegression):
    """Logistic regression on purchases."""

    task = Purchase.name


class PurchaseXgboost(Xgboost):
    """Boosted trees of XGBoost on purchases."""

    task = Purchase.name


class PurchaseHead(TransformerHead):
    """A head on the transformer that tells of purchases."""

    task = Purchase.name


# The simpler first: where two tie, the earlier is served.
ENTRANTS: tuple[Model, ...] = (LatelyRule(), OftenRule(), PurchaseRegression(), PurchaseXgboost(), PurchaseHead())
