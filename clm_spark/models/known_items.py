"""Which item each index of gold.item_vocabulary meant to a model when it was trained."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.task import Inputs
from clm_spark.tables.catalog import ITEM_VOCABULARY

ITEMS = "items"  # beside the model


def indexed_items(inputs: Inputs) -> DataFrame:
    """A row per item that has an index on the morning of the inputs."""
    return inputs.read(ITEM_VOCABULARY).select("item_index", "item_id")


def save_items(path: str, inputs: Inputs) -> None:
    """Write down which item each index means."""
    indexed_items(inputs).coalesce(1).write.mode("overwrite").parquet(f"{path}/{ITEMS}")


def other_item(path: str, inputs: Inputs) -> str | None:
    """An index that stands for another item by now, in words; None where there is none."""
    known = inputs.rows.sparkSession.read.parquet(f"{path}/{ITEMS}").withColumnRenamed("item_id", "known_item_id")
    both = known.join(indexed_items(inputs), on="item_index", how="left")
    is_other = F.col("item_id").isNotNull() & (F.col("known_item_id") != F.col("item_id"))
    other = both.where(is_other).orderBy("item_index").head()
    if other is None:
        return None
    return f"item_index {other['item_index']} was {other['known_item_id']} and is {other['item_id']} by now"
