import pytest
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.models.task import Inputs
from clm_spark.models.transformer.model import Transformer
from clm_spark.tables.catalog import ITEM_SEQUENCES


def test_sequences_of_one_item_teach_nothing(lake, tmp_path):
    day = lake.settings.as_of
    rows = [("a", day, [1], 1, None, None, None), ("b", day, [2], 1, None, None, None)]
    lake.replace(lake.spark.createDataFrame(rows, ITEM_SEQUENCES.schema), into=ITEM_SEQUENCES)
    nobody = lake.spark.range(0).select(F.lit("").alias("customer_id"))
    with pytest.raises(TooLittleDataError, match="nobody took to two items before 2024-03-01"):
        Transformer().fit(Inputs(lake, day, nobody), f"file://{tmp_path}")
