"""Saved models that MLflow can load and serve too: a file `MLmodel` beside theirs says how, and what they are asked."""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from clm_spark import files

Columns = Mapping[str, T.DataType]

SERVED = "clm_spark.models.registry.served"
ANSWER = "answer.txt"  # the name of the pipeline's column that is its answer
SPARK_FILES = "sparkml"  # where MLflow's Spark flavour looks


def save_spark_pipeline(
    pipeline: PipelineModel, path: str, *, rows: DataFrame, answer: str, packages: Sequence[str] = ()
) -> None:
    """Write a pipeline to a folder on any store; `rows` has the columns that it is asked with, `answer` names what it gives.

    `packages` are those that its stages need beside Spark's.

    Wherever MLflow can open the folder, `mlflow.spark.load_model` gives the pipeline, and `mlflow.pyfunc.load_model` what
    predicts the answer: the number, or of a vector of two probabilities that of the positive class.
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    pipeline.write().overwrite().save(f"{path}/{SPARK_FILES}")
    asked = {column.name: column.dataType for column in rows.schema.fields}
    model = Model(signature=_signature(asked, outputs={"prediction": T.DoubleType()}))
    kind = f"{PipelineModel.__module__}.{PipelineModel.__name__}"
    model.add_flavor("spark", pyspark_version=version("pyspark"), model_data=SPARK_FILES, code=None, model_class=kind)
    pyfunc.add_to_model(model, loader_module=SERVED, python_env="python_env.yaml")
    files.write_text(f"{path}/{ANSWER}", answer)
    _write(model, path, packages=("clm-spark", "pyspark", "pandas", *packages))


def load_spark_pipeline(path: str) -> PipelineModel:
    """The pipeline that `save_spark_pipeline` wrote, or version 0.1."""
    folder = SPARK_FILES if files.exists(f"{path}/{SPARK_FILES}") else "model"
    return PipelineModel.load(f"{path}/{folder}")


def describe_pyfunc(
    path: str,
    *,
    loader_module: str,
    inputs: Columns,
    outputs: Columns,
    params: Mapping[str, int | bool],
    packages: Sequence[str],
) -> None:
    """Let `mlflow.pyfunc.load_model` know a folder: `_load_pyfunc` of `loader_module` opens it.

    `params` are what `predict` takes, with their defaults.
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    model = Model(signature=_signature(inputs, outputs=outputs, params=params))
    pyfunc.add_to_model(model, loader_module=loader_module, python_env="python_env.yaml")
    _write(model, path, packages=packages)


def _write(model: Any, path: str, *, packages: Sequence[str]) -> None:
    python = ".".join(map(str, sys.version_info[:3]))
    environment = {"python": python, "dependencies": ["-r requirements.txt"]}
    pins = [f"{package}=={version(package)}" for package in ("mlflow-skinny", *packages)]
    files.write_text(f"{path}/requirements.txt", "\n".join([*pins, ""]))
    files.write_text(f"{path}/python_env.yaml", json.dumps(environment))  # JSON is YAML
    files.write_text(f"{path}/MLmodel", model.to_yaml())


def _signature(inputs: Columns, *, outputs: Columns, params: Mapping[str, int | bool] | None = None) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec

    parameters = [
        ParamSpec(name, DataType.boolean if isinstance(default, bool) else DataType.long, default)
        for name, default in (params or {}).items()
    ]
    return ModelSignature(
        inputs=_columns(inputs), outputs=_columns(outputs), params=ParamSchema(parameters) if parameters else None
    )


def _columns(columns: Columns) -> Any:
    """Numbers are asked for as doubles: pandas has no whole numbers once one of them is missing."""
    from mlflow.types import ColSpec, Schema

    specs = [(name, _type(kind)) for name, kind in columns.items()]
    return Schema([ColSpec(kind, name) for name, kind in specs if kind is not None])


def _type(kind: T.DataType) -> Any:
    from mlflow.types import DataType
    from mlflow.types.schema import Array

    if isinstance(kind, T.ArrayType):
        element = DataType.long if isinstance(kind.elementType, T.IntegralType) else _type(kind.elementType)
        return None if element is None else Array(element)
    plain: Mapping[type[T.DataType], Any] = {
        T.NumericType: DataType.double,
        T.BooleanType: DataType.boolean,
        T.StringType: DataType.string,
        T.DateType: DataType.datetime,
        T.TimestampType: DataType.datetime,
    }
    return next((found for spark_kind, found in plain.items() if isinstance(kind, spark_kind)), None)
