"""Rules for what a customer will bring: what they brought, carried on."""

from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark import files
from clm_spark.models.task import Inputs
from clm_spark.models.value.histories import FEATURES
from clm_spark.models.value.model import ValueModel
from clm_spark.models.value.settings import ValueSettings


class ValueRule(ValueModel):
    """A customer's own revenue per day, for the days of the horizon."""

    is_rule: ClassVar[bool] = True
    cents_a_day: ClassVar[str]  # SQL over the features

    def fit_own(self, inputs: Inputs, path: str) -> None:
        """Nothing is trained."""
        files.write_text(f"{path}/rule.txt", self.cents_a_day)

    def score_own(self, path: str, inputs: Inputs) -> DataFrame:
        """The rate times the horizon; nothing where refunds outweigh it."""
        days = inputs.settings.of(ValueSettings).horizon_days
        value = F.greatest(F.expr(self.cents_a_day).cast("double") * days, F.lit(0.0))
        return inputs.rows.select("customer_id", "as_of", value.alias("value"))


class RecentRevenue(ValueRule):
    """As in the last 90 days."""

    name = "recent_revenue"
    words = "revenue of the last 90 days"
    features = (*FEATURES, "net_revenue_90d_cents")
    cents_a_day = "net_revenue_90d_cents / 90"


class OwnPace(ValueRule):
    """As over all days since the first purchase; those of less than 90 days are held to 90."""

    name = "own_pace"
    words = "own pace ever"
    features = FEATURES
    cents_a_day = "net_revenue_cents / greatest(first_purchase_days, 90)"
