"""Segments by chance: what any clustering must beat, and nobody is shown."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.segments.settings import SegmentSettings
from clm_spark.models.segments.task import Segmentation
from clm_spark.models.task import Inputs, Model


class RandomSegments(Model):
    """The floor of the comparison."""

    name = "random"
    task = Segmentation.name
    words = "chance"
    section = SegmentSettings
    is_rule = True
    may_serve = False

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Nothing is trained."""

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """As many segments as settings ask for at least, by a hash of the customer."""
        asked = inputs.settings.of(SegmentSettings)
        drawn = F.pmod(F.xxhash64("customer_id", F.lit(asked.seed)), F.lit(asked.k_from)).cast("int")
        return inputs.rows.withColumn("segment", drawn)
