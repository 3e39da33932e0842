from datetime import UTC, datetime

import mlflow
import numpy as np
import pyarrow.dataset
import pytest
from pyspark.ml.recommendation import ALSModel

from clm_spark.files import local_path
from clm_spark.models.als import fit_als, recommend_by_als, save_als
from clm_spark.models.popularity import recommend_by_popularity, recommend_own_favourites
from clm_spark.settings import AlsSettings

PAIRS = (
    "customer_id string, customer_index int, item_id string, item_index int, num_events bigint, "
    "strength double, last_at timestamp"
)
# Two tastes: even customers take to items 10 to 19, odd ones to 20 to 29; everybody bought item 1.
NUM_CUSTOMERS, BOUGHT, NOON = 40, 6, datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def pairs(spark):
    random, rows = np.random.default_rng(1), []
    for customer in range(NUM_CUSTOMERS):
        own = random.choice(np.arange(10, 20) + 10 * (customer % 2), BOUGHT, replace=False)
        rows += [(f"c{customer}", customer, f"i{item}", int(item), 1, 5.0, NOON) for item in (1, *own)]
    return spark.createDataFrame(rows, PAIRS).persist()


@pytest.fixture(scope="module")
def model_path(pairs, tmp_path_factory):
    path = f"file://{tmp_path_factory.mktemp('als')}"
    settings = AlsSettings(rank=4, iterations=6, alpha=1.0, regularization=0.05, blocks=2)
    save_als(fit_als(pairs, settings=settings), pairs, path)
    return path


def lists(ranked):
    found = {}
    for row in sorted(ranked.collect(), key=lambda r: (r.customer_id, r["rank"])):
        assert row["rank"] == len(found.setdefault(row.customer_id, [])) + 1
        found[row.customer_id].append(row.item_index)
    return found


def test_als_finds_each_taste_where_popularity_cannot(pairs, model_path):
    seen = {}
    for row in pairs.collect():
        seen.setdefault(row.customer_id, set()).add(row.item_index)
    shown = {
        "als": lists(recommend_by_als(pairs, model_path=model_path, top_k=4, hide_seen=True)),
        "popularity": lists(recommend_by_popularity(pairs, top_k=4, hide_seen=True)),
    }
    hit_share = {}
    for name, found in shown.items():
        assert len(found) == NUM_CUSTOMERS
        assert all(not seen[customer] & set(items) for customer, items in found.items()), "seen items are hidden"
        of_taste = [(item // 10) == 1 + int(customer[1:]) % 2 for customer, items in found.items() for item in items]
        hit_share[name] = np.mean(of_taste)
    assert hit_share["als"] > 0.9
    assert hit_share["popularity"] < 0.7


def test_als_lists_are_the_largest_products_of_its_factors(spark, pairs, model_path):
    def factors(side):
        (folder,) = local_path(model_path).glob(f"model/sparkml/stages/*/{side}")
        table = pyarrow.dataset.dataset(folder).to_table().sort_by("id")
        return table["id"].to_numpy(), np.stack(table["features"].to_numpy())

    (users, user_vectors), (items, item_vectors) = factors("userFactors"), factors("itemFactors")
    best = np.argsort(-(user_vectors @ item_vectors.T), axis=1, kind="stable")[:, :5]
    expected = {f"c{user}": list(items[best[row]]) for row, user in enumerate(users)}
    # Another as_of numbers the customers anew and knows one more.
    stranger = spark.createDataFrame([("new", 0, "i1", 1, 1, 5.0, NOON)], PAIRS)
    later = pairs.withColumn("customer_index", pairs.customer_index + 7).union(stranger)
    assert lists(recommend_by_als(later, model_path=model_path, top_k=5, hide_seen=False)) == expected


def test_mlflow_opens_a_saved_als_and_gives_its_scores(pairs, model_path):
    asked = pairs.select("customer_index", "item_index").where("customer_index < 3").orderBy("item_index")
    rows = mlflow.spark.load_model(f"{model_path}/model").transform(asked).collect()
    (folder,) = local_path(model_path).glob("model/sparkml/stages/*")
    own = {
        (row.customer_index, row.item_index): row.prediction
        for row in ALSModel.load(str(folder)).transform(asked).collect()
    }
    assert {(row.customer_index, row.item_index): row.prediction for row in rows} == own
    served = mlflow.pyfunc.load_model(f"{model_path}/model")
    frame = asked.toPandas().astype("float64")
    assert served.predict(frame) == [own[row.customer_index, row.item_index] for row in frame.itertuples()]
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        served.predict(frame[["item_index"]])


def test_popularity_and_own_favourites_count(spark):
    rows = [
        ("a", 0, "x", 1, 1, 5.0, NOON), ("a", 0, "y", 2, 2, 10.0, NOON), ("a", 0, "z", 3, 1, 5.0, NOON.replace(hour=13)),
        ("b", 1, "z", 3, 1, 1.0, NOON), ("b", 1, "w", 4, 1, 1.0, NOON),
    ]  # fmt: skip
    pairs = spark.createDataFrame(rows, PAIRS)
    assert lists(recommend_by_popularity(pairs, top_k=3, hide_seen=False)) == {"a": [2, 3, 1], "b": [2, 3, 1]}
    assert lists(recommend_by_popularity(pairs, top_k=3, hide_seen=True)) == {"a": [4], "b": [2, 1]}
    assert lists(recommend_own_favourites(pairs, top_k=2)) == {"a": [2, 3], "b": [3, 4]}
