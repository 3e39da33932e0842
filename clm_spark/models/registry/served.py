"""A saved pipeline as `mlflow.pyfunc.load_model` serves it: a pandas frame of features to the answers of its task."""

from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from clm_spark.models.registry.flavours import ANSWER, SPARK_FILES


class ServedPipeline:
    """Answers in a Spark session, the active one or a new one of this machine."""

    def __init__(self, path: str) -> None:
        self.spark = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
        self.pipeline = PipelineModel.load(f"file://{Path(path).absolute()}/{SPARK_FILES}")
        self.answer = (Path(path) / ANSWER).read_text()

    def predict(self, features: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.Series:
        """One answer per row, in the order of the rows."""
        # The frame came through the driver, and so may its answers.
        numbered = self.spark.createDataFrame(features.assign(_row=range(len(features))))
        answered = self.pipeline.transform(numbered)
        is_vector = isinstance(answered.schema[self.answer].dataType, VectorUDT)
        answer = vector_to_array(F.col(self.answer))[1] if is_vector else F.col(self.answer)
        return answered.select("_row", answer.alias(self.answer)).orderBy("_row").toPandas()[self.answer]


def _load_pyfunc(path: str) -> ServedPipeline:
    return ServedPipeline(path)
