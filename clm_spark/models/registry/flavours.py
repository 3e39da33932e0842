"""TEMP."""

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame


def save_spark_pipeline(pipeline: PipelineModel, path: str, *, rows: DataFrame) -> None:
    """Temp."""
    pipeline.write().overwrite().save(f"{path}/model")


def load_spark_pipeline(path: str) -> PipelineModel:
    """Temp."""
    return PipelineModel.load(f"{path}/model")
