from datetime import UTC, date, datetime

import mlflow
import numpy as np
import pyarrow.dataset
import pytest
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.files import local_path
from clm_spark.models.als import AlsSettings, fit_als, recommend_by_als, save_als
from clm_spark.models.favourites import OwnFavourites
from clm_spark.models.filled_lists import filled_up
from clm_spark.models.popularity import Popularity, RecentPopularity
from clm_spark.models.task import Inputs
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, IDENTITIES, ITEM_DAYS, ITEM_VOCABULARY
from clm_spark.tables.lake import Lake

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


@pytest.fixture(scope="module", params=["numpy", "mllib"])
def model_path(pairs, tmp_path_factory, request):
    path = f"file://{tmp_path_factory.mktemp('als')}"
    settings = AlsSettings(rank=4, iterations=6, alpha=1.0, regularization=0.05, blocks=2, solver=request.param)
    save_als(fit_als(pairs, settings=settings), pairs, path)
    return path


def lists(ranked):
    found = {}
    for row in sorted(ranked.collect(), key=lambda r: (r.customer_id, r["rank"])):
        assert row["rank"] == len(found.setdefault(row.customer_id, [])) + 1
        found[row.customer_id].append(row.item_index)
    return found


def test_als_finds_each_taste(pairs, model_path):
    seen = {}
    for row in pairs.collect():
        seen.setdefault(row.customer_id, set()).add(row.item_index)
    found = lists(recommend_by_als(pairs, model_path=model_path, top_k=4, hide_seen=True))
    assert len(found) == NUM_CUSTOMERS
    assert all(not seen[customer] & set(items) for customer, items in found.items()), "seen items are hidden"
    of_taste = [(item // 10) == 1 + int(customer[1:]) % 2 for customer, items in found.items() for item in items]
    assert np.mean(of_taste) > 0.9


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
    assert list(served.predict(frame)) == [own[row.customer_index, row.item_index] for row in frame.itertuples()]
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        served.predict(frame[["item_index"]])


BOUGHT_ON = [  # item, day, how many customers bought it that day
    ("z", "2024-01-10", 2), ("y", "2024-01-10", 1), ("x", "2023-11-01", 4), ("w", "2024-01-10", 0),
    ("z", "2024-02-01", 9),  # on the day itself: not known yet
]  # fmt: skip


MORNING = date(2024, 2, 1)


def test_rules_count_purchases_and_fill_lists_up(spark, new_lake):
    rows = [
        ("a", 0, "x", 1, 1, 5.0, NOON), ("a", 0, "y", 2, 2, 10.0, NOON), ("b", 1, "w", 4, 1, 1.0, NOON),
    ]  # fmt: skip
    lake = new_lake(recommend={"top_k": 3})
    days = spark.createDataFrame(BOUGHT_ON, "item_id string, day string, num_buyer_days bigint")
    dated = days.select("item_id", *(F.to_date("day").alias(name) for name in ("day_on", "known_on")), "num_buyer_days")
    dated = dated.withColumn("num_lines", F.col("num_buyer_days"))
    put(lake, ITEM_DAYS, dated)
    # z has no index, and so is in none of the pairs; nor is c, who took to nothing else, before c was known.
    words = "item_id string, as_of date, item_index int, num_events bigint"
    items = [(item, MORNING, index, 5) for _, _, item, index, *_ in rows]
    put(lake, ITEM_VOCABULARY, spark.createDataFrame(items, words))
    person = [("c before", date(2024, 1, 3), "c", 2, False)]
    put(
        lake,
        IDENTITIES,
        spark.createDataFrame(
            person, "id string, known_on date, customer_id string, num_ids bigint, is_cut_off boolean"
        ),
    )
    taken = [(who, item) for who, _, item, *_ in rows] + [("a", "z"), ("c before", "z"), (GUEST, "x")]
    of_customers = spark.createDataFrame(taken, "customer_id string, item_id string").withColumns(
        {
            "day_on": F.lit(date(2024, 1, 1)),
            "known_on": F.lit(date(2024, 1, 1)),
            "num_events": F.lit(1).cast("bigint"),
            "num_lines": F.lit(1).cast("bigint"),
        }
    )
    put(lake, CUSTOMER_ITEM_DAYS, of_customers)

    def shown(model, **recommend):
        asked = lake.settings.recommend.model_copy(update=recommend)
        own = Lake(spark, lake.settings.model_copy(update={"recommend": asked}))
        inputs = Inputs(own, MORNING, spark.createDataFrame(rows, PAIRS))
        found = filled_up(model.score("", inputs), inputs, top_k=3).orderBy("customer_id", "rank").collect()
        assert {row.customer_id for row in found} <= {"a", "b", "c"}
        return {who: [(row.item_id, row.source) for row in found if row.customer_id == who] for who in ("a", "b", "c")}

    def untried(model):
        """What stands behind a list of one."""
        inputs = Inputs(lake, MORNING, spark.createDataFrame(rows, PAIRS))
        found = filled_up(model.score("", inputs), inputs, top_k=1, num_untried=2).where("rank > 1").orderBy("rank")
        behind = found.collect()
        assert {row.source for row in behind} == {filled}
        return {who: [row.item_id for row in behind if row.customer_id == who] for who in ("a", "b", "c")}

    def all_of(*pairs):
        return {"a": list(pairs), "b": list(pairs), "c": list(pairs)}

    own, filled = None, "popularity"
    assert shown(Popularity()) == all_of(("x", own), ("z", own), ("y", own))
    assert shown(RecentPopularity()) == all_of(("z", own), ("y", own), ("x", filled))
    assert shown(OwnFavourites()) == {
        "a": [("y", own), ("x", own), ("z", filled)],
        "b": [("w", own), ("x", filled), ("z", filled)],
        "c": [("x", filled), ("z", filled), ("y", filled)],
    }
    assert shown(Popularity(), hide_seen=True) == {
        "a": [], "b": [("x", own), ("z", own), ("y", own)], "c": [("x", own), ("y", own)],
    }  # fmt: skip
    assert untried(OwnFavourites()) == {"a": [], "b": ["x", "z"], "c": ["y"]}, "a took to all that is popular"
    assert shown(OwnFavourites(), hide_seen=True) == {
        "a": [], "b": [("x", filled), ("z", filled), ("y", filled)], "c": [("x", filled), ("y", filled)],
    }  # fmt: skip


def put(lake, table, rows):
    """What a case is about; the other columns hold null, or 0 where they may not."""
    rest = {c.name: _nothing(c) for c in table.columns if c.name not in rows.columns}
    lake.replace(rows.withColumns(rest), into=table)


def _nothing(column):
    if column.nullable:
        return F.lit(None).cast(column.type)
    return F.lit(b"") if column.type == T.BinaryType() else F.lit(0).cast(column.type)
