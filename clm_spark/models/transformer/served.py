"""The transformer as MLflow serves it: a pandas frame of customers and their items to ranked items."""

from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_schema
from safetensors.torch import load

from clm_spark.models.registry.flavours import describe_pyfunc
from clm_spark.models.transformer.data import Ints
from clm_spark.models.transformer.network import ITEMS_FILE, NextItemModel, model_from_files, read_model_files
from clm_spark.models.transformer.score import ROWS, lists_of, sequences_of

ASKED = {"top_k": 20, "hide_seen": False}


def describe(path: str) -> None:
    """Let MLflow know the model in a folder."""
    describe_pyfunc(
        path,
        loader_module=__name__,
        inputs={
            "customer_id": T.StringType(),
            "item_indices": T.ArrayType(T.IntegerType()),
            "kinds": T.ArrayType(T.StringType()),
            "times": T.ArrayType(T.TimestampType()),
            "prices": T.ArrayType(T.DoubleType()),  # MLflow knows no whole numbers that may be missing
        },
        outputs={column.name: column.dataType for column in from_arrow_schema(ROWS)},
        params=ASKED,
        packages=("clm-spark", "torch", "transformers", "safetensors", "pandas", "pyarrow"),
    )


class ServedTransformer:
    """What `mlflow.pyfunc.load_model` gives for a transformer."""

    def __init__(self, model: NextItemModel, listed: Ints | None = None) -> None:
        self.model, self.listed = model, listed

    def predict(self, customers: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A row per customer and rank, as `score_customers_top_k` gives them; `params` are those of `ASKED`.

        Listed are the items that could be recommended when the model was trained.
        Needs `customer_id`, `item_indices`, `kinds`, `times` and `prices`, oldest first.
        """
        asked = {**ASKED, **(params or {})}
        names = pa.array(customers["customer_id"], pa.string())
        types = {"item_indices": pa.int32(), "kinds": pa.string()}
        columns = {name: pa.array(map(list, customers[name]), pa.list_(of)) for name, of in types.items()}
        cents = [
            [None if np.isnan(price) else int(price) for price in np.asarray(of, float)] for of in customers["prices"]
        ]
        columns["prices"] = pa.array(cents, pa.list_(pa.int64()))
        # MLflow hands on times of any unit.
        at = pd.to_datetime(list(chain.from_iterable(customers["times"])), utc=True).as_unit("us")
        columns["times"] = pa.ListArray.from_arrays(columns["item_indices"].offsets, pa.array(at))
        rows = pa.table(columns)
        lists = lists_of(
            self.model,
            names,
            sequences_of(self.model, rows),
            asked["top_k"],
            hide_seen=asked["hide_seen"],
            listed=self.listed,
        )
        return pd.DataFrame(lists.to_pydict())


def _load_pyfunc(path: str) -> ServedTransformer:
    content = read_model_files(path)
    items = load(content[ITEMS_FILE]) if ITEMS_FILE in content else {}
    return ServedTransformer(model_from_files(content), items["listed"].numpy() if "listed" in items else None)
