"""Density clusters as `mlflow.pyfunc.load_model` serves them: a pandas frame of features to the segments."""

from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession

from clm_spark.models.segments.cores import read_cores, with_nearest


class ServedCores:
    """Answers in a Spark session, the active one or a new one of this machine."""

    def __init__(self, path: str) -> None:
        self.cores = read_cores(str(Path(path).absolute()))

    def predict(self, features: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.Series:
        """One segment per row, in the order of the rows."""
        spark = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
        # The frame came through the driver, and so may its answers.
        numbered = spark.createDataFrame(features.assign(_row=range(len(features))))
        answered = with_nearest(numbered, self.cores, name="segment").select("_row", "segment")
        return answered.orderBy("_row").toPandas()["segment"]


def _load_pyfunc(path: str) -> ServedCores:
    return ServedCores(path)
