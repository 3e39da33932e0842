"""What everybody buys: all the time, and lately."""

from typing import ClassVar

from pydantic import Field
from pyspark.sql import DataFrame

from clm_spark.models.filled_lists import filled_up, popular_items
from clm_spark.models.recommender import RecommenderRule
from clm_spark.models.task import Inputs
from clm_spark.settings import Days, Section
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, ITEM_DAYS, ITEM_VOCABULARY

EMPTY = "customer_id string, rank int, item_id string, relevance double, reason string"


class PopularitySettings(Section):
    """What counts as lately."""

    key: ClassVar[str] = "popularity"
    window_days: Days = Field(28, description="days before as_of whose purchases count as recent")


class Popularity(RecommenderRule):
    """The items bought most often since the log began."""

    name = "popularity"
    words = "popularity"
    inputs = (ITEM_DAYS, CUSTOMER_ITEM_DAYS, ITEM_VOCABULARY)
    uses = ("clm_spark.models.filled_lists",)

    def lists(self, path: str, inputs: Inputs, *, length: int) -> DataFrame:
        """The same list for everybody, but for what a customer has seen where that is hidden."""
        return _lists(inputs, popular_items(inputs), length)


class RecentPopularity(RecommenderRule):
    """The items bought most often in the last days."""

    name = "recent_popularity"
    words = "recent popularity"
    section = PopularitySettings
    inputs = (ITEM_DAYS, CUSTOMER_ITEM_DAYS, ITEM_VOCABULARY)
    uses = ("clm_spark.models.filled_lists",)

    def lists(self, path: str, inputs: Inputs, *, length: int) -> DataFrame:
        """As popularity, over `popularity.window_days`."""
        window_days = inputs.settings.of(PopularitySettings).window_days
        return _lists(inputs, popular_items(inputs, window_days=window_days), length)


def _lists(inputs: Inputs, popular: DataFrame, length: int) -> DataFrame:
    nothing = inputs.rows.sparkSession.createDataFrame([], EMPTY)
    return filled_up(nothing, inputs, top_k=length, fill=popular).drop("source")
