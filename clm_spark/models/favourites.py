"""What the customer buys most anyway."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.models.recommender import RecommenderRule
from clm_spark.models.task import Inputs


class OwnFavourites(RecommenderRule):
    """The customer's own strongest items, the latest first where they tie; then what is popular."""

    name = "own_favourites"
    words = "own favourites"

    def lists(self, path: str, inputs: Inputs, *, length: int) -> DataFrame:
        """One row per customer and rank; none where seen items are hidden."""
        pairs = inputs.rows.where(F.lit(not inputs.settings.recommend.hide_seen))
        own = Window.partitionBy("customer_id").orderBy(F.desc("strength"), F.desc("last_at"), "item_index")
        ranked = pairs.withColumn("rank", F.row_number().over(own))
        reason = F.format_string("taken %d times, last on %s", "num_events", F.to_date("last_at").cast("string"))
        return ranked.where(F.col("rank") <= length).select(
            "customer_id", "rank", "item_id", F.col("strength").alias("relevance"), reason.alias("reason")
        )
