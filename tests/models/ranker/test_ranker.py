"""The ranker and user neighbours over the tables of a made shop."""

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from bought_days import AS_OF, NUM_ITEMS, inputs_of, written
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.ranking import customer_ranking, mean_figures
from clm_spark.files import local_path
from clm_spark.models.comparison import stacked
from clm_spark.models.ranker.alike import UserNeighbours
from clm_spark.models.ranker.histories import histories_at, known_items, taken_after
from clm_spark.models.ranker.model import Ranker, fit_ranker
from clm_spark.models.ranker.settings import CandidateSettings, RankerSettings
from clm_spark.models.task import Inputs
from clm_spark.tables.lake import Lake

HORIZON = 10
NUM_CUSTOMERS, NUM_DAYS = 80, 200
SECTIONS = {
    "recommend": {"test_days": HORIZON, "top_k": 5, "min_item_events": 1},
    "ranker": {"panels": 3, "num_trees": 40, "depths": [4], "min_leaf_weight": 1.0, "step_size": 0.2},
    "candidates": {"neighbours": 10, "tastes": 4},
    "evaluation": {"replicates": 50},
}


@pytest.fixture
def lake(new_lake):
    return new_lake(**SECTIONS)


def test_histories_as_known_on_each_morning(lake):
    day = AS_OF - timedelta(days=20)
    late, eve, later = day + timedelta(days=5), day - timedelta(days=1), day + timedelta(days=3)
    written(
        lake,
        [
            ("a", "i0", eve, eve, 1, 0),
            ("a", "i1", eve, late, 1, 0),  # reported late: not known on the morning of `day`
            ("a", "i2", day, day, 2, 1),
            ("a", "i3", later, later, 0, 3),
            ("b", "i0", later, later, 1, 0),
            ("b", "i9", day + timedelta(days=HORIZON), day + timedelta(days=HORIZON), 1, 0),
            ("c", "unknown", day, day, 1, 0),
            ("d", "i4", eve, eve, 0, 0),  # shown, and no more
        ],
    )
    inputs = inputs_of(lake, ["a", "b"])
    found = {
        (row.customer_id, row.as_of): sorted(zip(row["items"], row.ages, row.units, row.looks, strict=True))
        for row in histories_at(inputs, [day, AS_OF]).collect()
    }
    assert found == {
        ("a", day): [(1, 1, 1.0, 0.0)],
        ("a", AS_OF): [(1, 21, 1.0, 0.0), (2, 21, 1.0, 0.0), (3, 20, 2.0, 1.0), (4, 17, 0.0, 3.0)],
        ("b", AS_OF): [(1, 17, 1.0, 0.0), (10, 10, 1.0, 0.0)],
    }
    asked = lake.spark.createDataFrame([("a", day), ("b", day)], "customer_id string, as_of date")
    taken = {row.customer_id: row.taken for row in taken_after(inputs, asked, [day], horizon_days=HORIZON).collect()}
    assert taken == {"b": [1]}, "from the morning on, for as many days, purchases alone; of items known by then"


def test_an_earlier_morning_knows_the_items_that_could_be_recommended_then(new_lake):
    lake = new_lake(recommend={"min_item_events": 3, "retire_after_days": 50})
    day = AS_OF - timedelta(days=20)

    def on(ago, item, *, lines=1, views=0, late=0):
        at = day - timedelta(days=ago)
        return ("a", item, at, at + timedelta(days=late), lines, views)

    rows = [
        on(4, "i0", views=1), on(3, "i0"),  # three events
        on(4, "i1"), on(2, "i1"), on(-1, "i1", views=5),  # two by then
        on(4, "i2", views=4, late=4),  # five, but known on the morning after
        on(60, "i3", views=9),  # retired by then
        on(50, "i4", views=9),  # not yet
    ]  # fmt: skip
    written(lake, rows)
    inputs = inputs_of(lake, ["a"])
    known = {(row.item_id, row.item_index) for row in known_items(inputs, [day]).collect()}
    assert known == {("i0", 1), ("i4", 5)}
    assert {row.item_id for row in known_items(inputs, [AS_OF]).collect()} == {f"i{n}" for n in range(NUM_ITEMS)}
    of_a = {row.as_of: sorted({*row["items"]}) for row in histories_at(inputs, [day, AS_OF]).collect()}
    assert of_a[day] == [1, 5], "nothing is learned of items that were not known"
    asked = histories_at(inputs, [day])
    assert [row.taken for row in taken_after(inputs, asked, [day], horizon_days=HORIZON).collect()] == []


def habits():
    """Of each customer eight items with a period of their own, and the days of their purchases up to the horizon's end."""
    random = np.random.default_rng(4)
    for customer in range(NUM_CUSTOMERS):
        for item in random.choice(NUM_ITEMS, 8, replace=False):
            period, phase = random.choice([23, 29, 47]), random.integers(47)
            for age in range(-HORIZON + int(phase) % int(period), NUM_DAYS, int(period)):
                yield f"c{customer}", f"i{item}", AS_OF - timedelta(days=age + 1)


def test_the_ranker_learns_what_is_due(lake, tmp_path):
    bought = sorted({*habits()})
    written(lake, [(who, item, day, day, 1, 0) for who, item, day in bought if day < AS_OF])
    inputs = inputs_of(lake, [f"c{customer}" for customer in range(NUM_CUSTOMERS)])
    path = f"file://{tmp_path}/ranker"
    ranker = Ranker()
    ranker.fit(inputs, path)
    lists = {"ranker": ranker.score(path, inputs), "user_neighbours": UserNeighbours().score("", inputs)}
    counted = lake.spark.createDataFrame(bought, "customer_id string, item_id string, day_on date")
    often = counted.where(F.col("day_on") < F.lit(AS_OF)).groupBy("customer_id", "item_id").count()
    best = F.expr("row_number() OVER (PARTITION BY customer_id ORDER BY count DESC, item_id)")
    lists["own_favourites"] = often.withColumn("rank", best)
    truth = counted.where(F.col("day_on") >= F.lit(AS_OF)).select("customer_id", "item_id").distinct()
    columns = ("customer_id", "rank", "item_id")
    rows = stacked({name: rows.select(*columns) for name, rows in lists.items()})
    found = {
        r.model: r.value
        for r in mean_figures(customer_ranking(rows, truth, models=list(lists)))
        .where("metric = 'ndcg_at_10'")
        .collect()
    }
    assert found["ranker"] > found["own_favourites"] + 0.1
    assert found["user_neighbours"] > 0.3

    told = {(r.customer_id, r.item_id): r for r in lists["ranker"].collect()}
    assert all(0 <= row.relevance <= 1 for row in told.values()), "a probability"
    who, item = max(told, key=lambda pair: told[pair].relevance)
    ages = sorted((AS_OF - day).days for customer, of, day in bought if (customer, of) == (who, item) and day < AS_OF)
    gap = (ages[-1] - ages[0]) / (len(ages) - 1)
    assert told[who, item].reason.startswith(f"bought {len(ages)} times, every {gap:.0f} days")
    again = {(r.customer_id, r.item_id): r.relevance for r in ranker.score(path, inputs).collect()}
    assert again == {pair: row.relevance for pair, row in told.items()}

    # Trees that know other features are not asked: neither by other settings, nor those of a release before.
    assert ranker.differs(path, inputs) is None
    same = lake.settings.of(CandidateSettings)
    two_weeks = lake.settings.recommend.model_copy(update={"test_days": 14})
    for other, named in (
        (lake.settings.with_section(same.model_copy(update={"from_als": 5})), "candidates.from_als"),
        (lake.settings.model_copy(update={"recommend": two_weeks}), "recommend.test_days"),
    ):
        of_others = Inputs(Lake(lake.spark, other), AS_OF, inputs.rows)
        assert ranker.differs(path, of_others) == f"its trees were trained on other settings: {named}"
    asked = local_path(f"{path}/features.json")
    known = json.loads(asked.read_text())
    features = known["features"]
    asked.write_text(json.dumps(known | {"features": features | {"age": 5.0}}))
    assert ranker.differs(path, inputs) == "its trees were trained on other features: age"
    asked.write_text(json.dumps(known | {"features": dict(reversed(features.items()))}))
    assert "in another order" in ranker.differs(path, inputs), "they are told apart by their places"
    asked.write_text(json.dumps(features))
    assert "by an earlier release" in ranker.differs(path, inputs)
    asked.unlink()
    assert "by an earlier release" in ranker.differs(path, inputs)


def test_early_stopping_on_validation_customers(spark):
    random = np.random.default_rng(5)
    who, told, noise = random.integers(0, 300, 6000), random.normal(size=6000), random.normal(size=(6000, 5))
    label = random.random(6000) < 1 / (1 + np.exp(-2 * told))
    names = ("told", *(f"noise_{n}" for n in range(5)))
    columns = {
        "customer_key": who,
        "item_index": np.arange(6000, dtype=np.int32),
        "label": label.astype(np.int32),
        "weight": np.ones(6000, np.float32),
        "as_of": np.zeros(6000, np.int32),
        **dict(zip(names, np.column_stack([told, noise]).T, strict=True)),
    }
    examples = spark.createDataFrame(pa.table(columns))
    settings = RankerSettings(min_leaf_weight=1.0, step_size=0.3, depths=(6,), patience=5)
    booster = fit_ranker(examples, names, settings).get_booster()
    best = int(booster.attr("best_iteration")) + 1
    assert booster.num_boosted_rounds() == best + settings.patience < 40, "of 400"
    matrix = xgboost.DMatrix(np.column_stack([told, noise]))

    def error(trees):
        """Mean distance to the law's probability."""
        return np.abs(booster.predict(matrix, iteration_range=(0, trees)) - 1 / (1 + np.exp(-2 * told))).mean()

    assert error(best) < error(1)

    # The same in Arrow batches of ten rows, of which most hold no validation customer, and some nobody else.
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    usual = spark.conf.get(name)
    spark.conf.set(name, 10)
    try:
        again = fit_ranker(examples, names, settings).get_booster()
    finally:
        spark.conf.set(name, usual)
    assert np.allclose(again.predict(matrix), booster.predict(matrix), atol=0.02)

    # A law of one feature needs no deep trees, one of two together does.
    either = settings.model_copy(update={"depths": (6, 1), "patience": 20, "feature_share": 1.0})
    together = examples.withColumn("label", (F.col("told") * F.col("noise_0") > 0).cast("int"))
    for rows, depth in ((examples, 1), (together, 6)):
        chosen = fit_ranker(rows, names, either).get_booster()
        assert max(line.count("\t") for tree in chosen.get_dump() for line in tree.splitlines()) == depth

    nobody_left = RankerSettings(**settings.model_dump() | {"validation_share": 1.0})
    assert fit_ranker(examples, names, nobody_left).get_booster().num_boosted_rounds() == settings.patience, (
        "none is left"
    )


def test_too_little_to_learn_from(lake, tmp_path):
    written(lake, [("a", "i0", AS_OF - timedelta(days=2), AS_OF - timedelta(days=2), 1, 0)])
    with pytest.raises(TooLittleDataError, match="nobody known on 2024-05-22 bought an indexed item in the 10 days"):
        Ranker().fit(inputs_of(lake, ["a"]), f"file://{tmp_path}/ranker")
    daily = [AS_OF - timedelta(days=age) for age in range(1, 40)]
    written(lake, [("a", "i0", day, day, 1, 0) for day in daily])  # the only item, bought each time
    with pytest.raises(TooLittleDataError, match="of 3 every one was bought"):
        Ranker().fit(inputs_of(lake, ["a"]), f"file://{tmp_path}/ranker")
    written(lake, [("a", "i0", AS_OF - timedelta(days=2), AS_OF - timedelta(days=2), 0, 1)])
    with pytest.raises(TooLittleDataError, match="expected purchases of indexed items"):
        UserNeighbours().score("", inputs_of(lake, ["a"]))
