"""Implicit-feedback matrix factorisation (Hu, Koren and Volinsky 2008), in NumPy on the workers or by MLlib's ALS."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pydantic import Field
from pyspark import Broadcast
from pyspark.ml import PipelineModel
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark import files
from clm_spark.models.als_numpy import Weights, fit_factors
from clm_spark.models.known_items import save_items
from clm_spark.models.recommender import IndexedRecommender
from clm_spark.models.registry.flavours import load_spark_pipeline, save_spark_pipeline
from clm_spark.models.task import Inputs
from clm_spark.models.top_k import Cells, Floats, Ints, top_k
from clm_spark.privacy.pseudonyms import rekeyed
from clm_spark.session import spread_over_cores
from clm_spark.settings import Section, Seed
from clm_spark.tables.catalog import INTERACTIONS, ITEM_VOCABULARY
from clm_spark.tables.lake import Lake

LISTS = "customer_id string, rank int, item_index int, relevance double"

Batches = Iterable[pa.RecordBatch]


class AlsSettings(Section):
    """Implicit-feedback ALS (Hu, Koren, Volinsky 2008)."""

    key: ClassVar[str] = "als"
    rank: Annotated[int, Field(ge=1)] = 128
    iterations: Annotated[int, Field(ge=1)] = 4
    alpha: float = Field(0.2, gt=0, description="confidence gained per unit of strength: a purchase is 5 by default")
    regularization: Annotated[float, Field(gt=0)] = 0.1
    blocks: Annotated[int, Field(ge=1)] = Field(
        4,
        description="tasks, where one does not do, or MLlib's blocks of each side; about the number of cores, or more",
    )
    solver: Literal["mllib", "numpy"] = Field("numpy", description="who solves: NumPy on the workers, or MLlib")
    seed: Seed = 7


class Als(IndexedRecommender):
    """Matrix factorisation of who took to which item, by strength."""

    name = "als"
    words = "ALS"
    section = AlsSettings
    inputs = (INTERACTIONS, ITEM_VOCABULARY)
    uses = ("clm_spark.models.top_k", "clm_spark.models.als_numpy", "clm_spark.models.als_blocks")

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Write the factors and whose they are."""
        save_als(fit_als(inputs.rows, settings=inputs.settings.of(AlsSettings)), inputs.rows, path)
        save_items(path, inputs)

    def lists(self, path: str, inputs: Inputs, *, length: int) -> DataFrame:
        """The items with the largest product of factors, for the customers whom the model knows."""
        hides_seen = inputs.settings.recommend.hide_seen
        lists = recommend_by_als(inputs.rows, model_path=path, top_k=length, hide_seen=hides_seen)
        return self.with_item(lists, inputs, reason="customers with the same tastes took to it")

    def rekey(self, path: str, *, lake: Lake, links: Sequence[bytes], key: str) -> None:
        """The customers' factors are found by pseudonym."""
        rekey_als(lake.spark, path, links=links, key=key)


def fit_als(interactions: DataFrame, *, settings: AlsSettings) -> ALSModel:
    """Factors of customers and items from one as_of of gold.interactions, by its `strength`."""
    return {"mllib": _fit_by_mllib, "numpy": _fit_by_numpy}[settings.solver](interactions, settings)


def _fit_by_mllib(interactions: DataFrame, settings: AlsSettings) -> ALSModel:
    als = ALS(
        userCol="customer_index",
        itemCol="item_index",
        ratingCol="strength",
        implicitPrefs=True,
        rank=settings.rank,
        maxIter=settings.iterations,
        alpha=settings.alpha,
        regParam=settings.regularization,
        numUserBlocks=settings.blocks,
        numItemBlocks=settings.blocks,
        seed=settings.seed,
    )
    return als.fit(interactions)


def _fit_by_numpy(interactions: DataFrame, settings: AlsSettings) -> ALSModel:
    customers, items = fit_factors(
        interactions,
        rank=settings.rank,
        iterations=settings.iterations,
        weights=Weights(settings.alpha, settings.regularization),
        blocks=settings.blocks,
        seed=settings.seed,
    )
    # Python has no constructor for it; saved and served it is like any other.
    jvm: Any = interactions.sparkSession._jvm
    model = jvm.org.apache.spark.ml.recommendation.ALSModel
    made = model(f"als_{uuid4().hex[:12]}", settings.rank, customers._jdf, items._jdf)
    named = ALSModel(made).setUserCol("customer_index").setItemCol("item_index")
    return named.setColdStartStrategy("nan")  # ALS's default, which it hands to the models it fits


def save_als(model: ALSModel, interactions: DataFrame, path: str) -> None:
    """Write the model's factors and whose they are: `customer_index` means something within one as_of only."""
    asked = interactions.select("customer_index", "item_index")
    save_spark_pipeline(PipelineModel([model]), f"{path}/model", rows=asked, answer="prediction")
    customers = interactions.select("customer_id", "customer_index").distinct()
    customers.write.mode("overwrite").parquet(f"{path}/customers")


def rekey_als(spark: SparkSession, model_path: str, *, links: Sequence[bytes], key: str) -> None:
    """Let a saved model know its customers under a further key, whose fingerprint their folder is named after.

    After a crash call it again: a folder that is whole is not hashed twice, and takes the place of the old one.
    """
    new = f"customers-{key}"
    old = [name for name in files.names_in(model_path) if name.startswith("customers") and name != new]
    if not files.exists(f"{model_path}/{new}/_SUCCESS"):
        customers = spark.read.parquet(f"{model_path}/{old[0]}")
        rekeyed(customers, INTERACTIONS, links=links).write.mode("overwrite").parquet(f"{model_path}/{new}")
    for name in old:
        files.remove(f"{model_path}/{name}")


def recommend_by_als(interactions: DataFrame, *, model_path: str, top_k: int, hide_seen: bool) -> DataFrame:
    """One row per customer and rank: the items with the largest product of factors.

    For the customers of `interactions` (one as_of of gold.interactions) whom the model knows. The items' factors, a
    bounded vocabulary, are sent to every worker once; the customers' come in Arrow batches and never pass the driver.
    """
    spark = interactions.sparkSession
    seen = F.collect_set("item_index") if hide_seen else F.array().cast("array<int>")
    asked = interactions.groupBy("customer_id").agg(seen.alias("seen"))
    known = spark.read.parquet(f"{model_path}/customers*")  # named after the key where that was changed
    model = _load_als(model_path)
    factors = model.userFactors.withColumnRenamed("id", "customer_index")
    users = asked.join(known, on="customer_id", how="inner").join(factors, on="customer_index", how="inner")
    rank_batches = _ranking(spark.sparkContext.broadcast(_item_factors(model)), top_k)
    spread = spread_over_cores(users.select("customer_id", "features", "seen"), "customer_id")
    return spread.mapInArrow(rank_batches, LISTS)


def _load_als(path: str) -> ALSModel:
    (model,) = load_spark_pipeline(f"{path}/model").stages
    assert isinstance(model, ALSModel)
    return model


def _item_factors(model: ALSModel) -> tuple[Ints, Floats]:
    """Every item's index, in order, and its factors."""
    items = model.itemFactors.toArrow().sort_by("id")
    return items["id"].to_numpy(), _matrix(items["features"].combine_chunks())


def _ranking(sent: Broadcast[tuple[Ints, Floats]], k: int) -> Callable[[Batches], Batches]:
    def rank_batches(batches: Batches) -> Batches:
        item_indices, item_vectors = sent.value
        for batch in batches:
            if batch.num_rows:
                hidden = _cells(batch.column("seen"), item_indices)
                best, scores = top_k(_matrix(batch.column("features")), item_vectors, k, hidden)
                yield _lists(batch.column("customer_id"), item_indices, best, scores)

    return rank_batches


def _matrix(vectors: pa.ListArray) -> Floats:
    return np.asarray(vectors.flatten()).reshape(len(vectors), -1)


def _cells(seen: pa.ListArray, item_indices: Ints) -> Cells:
    """Where the seen items of each row stand in the matrix; items without factors stand nowhere."""
    rows, items = seen.value_parent_indices().to_numpy(), seen.flatten().to_numpy()
    columns = np.searchsorted(item_indices, items)
    is_known = item_indices[np.minimum(columns, len(item_indices) - 1)] == items
    return Cells(rows[is_known], columns[is_known])


def _lists(customers: pa.Array, item_indices: Ints, best: Ints, scores: Floats) -> pa.RecordBatch:
    rows, places = np.nonzero(best >= 0)
    columns = {
        "customer_id": customers.take(pa.array(rows)),
        "rank": pa.array(places + 1, pa.int32()),
        "item_index": pa.array(item_indices[best[rows, places]], pa.int32()),
        "relevance": pa.array(scores[rows, places].astype(np.float64)),
    }
    return pa.RecordBatch.from_pydict(columns)
