from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from leaving_customers import leaving_customers, their_orders
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.errors import ModelError
from clm_spark.files import local_path
from clm_spark.jobs import assign_segments, score_customers, train_churn, train_recommenders, train_segments
from clm_spark.models.catalogue import settings_from
from clm_spark.models.churn import Churn, ChurnGbt
from clm_spark.models.contest import Contest
from clm_spark.models.linear import LoggedRegression
from clm_spark.models.recommendation import Recommendation
from clm_spark.models.registry import HOLDOUT, Registry
from clm_spark.models.slices import FEWEST_OF_A_KIND, SLICES
from clm_spark.tables import catalog as t
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

AS_OF, STEP = date(2024, 3, 1), timedelta(days=28)
DAYS = [AS_OF - STEP * back for back in range(4)]
OTHERS = ["decision_tree", "random_forest", "xgboost"]  # test_churn.py trains them
SECTIONS = {
    "features": {"panel_every_days": 28, "panel_size": 4},
    "churn": {"horizon_days": 28},
    "gbt": {"max_iterations": 3, "max_depth": 3, "feature_share": 1.0, "min_leaf_customers": 5},
    "als": {"rank": 4, "iterations": 4, "alpha": 1.0, "blocks": 2},
    "recommend": {"top_k": 5, "hide_seen": True},
    "segments": {"k_to": 3},
    "evaluation": {
        "replicates": 50,
        "folds": 2,
        "leave_out": ["transformer", "user_neighbours", "ranker", *OTHERS],
        "take_in": ["gbt"],
    },
}


def filled(rows, table):
    """With the table's other columns: null, or 0."""

    def nothing(column):
        return F.lit(b"") if column.type == T.BinaryType() else F.lit(None if column.nullable else 0).cast(column.type)

    present = {name: F.col(name).cast(table.schema[name].dataType) for name in rows.columns}
    rest = {c.name: nothing(c) for c in table.columns if c.name not in rows.columns}
    return rows.withColumns(present | rest).select(table.schema.names)


def stored(lake, table):
    return sorted(map(str, lake.read(table).collect()))


def on(lake, as_of: date) -> Lake:
    """The same lakehouse on another day."""
    return Lake(lake.spark, lake.settings.model_copy(update={"as_of": as_of}))


@pytest.mark.long
def test_churn_and_segments_are_trained_once_and_the_winner_is_served(new_lake):
    lake = new_lake(**SECTIONS)
    with pytest.raises(ModelError, match="no churn model is in use on 2024-03-01"):
        score_customers.run(lake, lake.settings)
    labelled = leaving_customers(lake.spark, days=DAYS, num_customers=200).persist()
    features = labelled.drop("is_churned")
    lake.replace(features, into=t.CUSTOMER_FEATURES)
    lake.replace(their_orders(labelled), into=t.CUSTOMER_DAYS)
    written = {}
    for _ in range(2):
        for job in (train_segments, train_churn, assign_segments, score_customers):
            job.run(lake, lake.settings)
        for table in (
            t.SEGMENTS,
            t.SEGMENT_PROFILES,
            t.CUSTOMER_SCORES,
            t.MODEL_METRICS,
            t.SCORE_DECILES,
            t.SLICE_METRICS,
        ):
            rows = stored(lake, table)
            assert rows
            assert written.setdefault(table.name, rows) == rows, "the second run leaves the same rows"
    registry = Registry(lake.settings)
    served = registry.champion("churn", AS_OF)
    assert [each.version for each in registry.versions("churn")] == [served.version], "trained once, the winner alone"

    scores = lake.read(t.CUSTOMER_SCORES).collect()
    assert {s.customer_id for s in scores} == {f.customer_id for f in features.where(F.col("as_of") == AS_OF).collect()}
    assert {(s.model, s.model_version, s.unit, s.is_fallback) for s in scores} == {
        (served.model, served.version, "probability", False)
    }
    figures = {(m.model, m.metric): m for m in lake.read(t.MODEL_METRICS).where("task = 'churn'").collect()}
    models = {"gbt", "logistic_regression", "recency_rule", "orders_rule"}
    assert {model for model, _ in figures} == models
    best = max(models, key=lambda model: figures[model, "average_precision"].value)
    assert served.model == best == "gbt"
    assert {m.model for m in figures.values() if m.is_champion} == {best}
    assert {m.model for m in figures.values() if m.is_baseline} == {"recency_rule", "orders_rule"}
    assert all(m.low <= m.value <= m.high for m in figures.values() if m.metric in ("auc", "average_precision"))
    assert {m.tested_on for m in figures.values()} == {DAYS[1]}
    slices = lake.read(t.SLICE_METRICS).where("metric = 'auc'").collect()
    assert {(s.model, s.model_version, s.score) for s in slices} == {(best, served.version, "churn")}
    num_tested = {name: sum(s.num_tested for s in slices if s.slice == name) for name in SLICES}
    # Every tested customer is in one group of each; a group in which all stay, or none, has no figure.
    assert num_tested.keys() == {"tenure", "value_tier", "segment"}
    assert (num_tested["tenure"], num_tested["value_tier"]) == (200, 200)
    assert 0 < num_tested["segment"] <= 200
    worst = [s for s in slices if s.is_worst]
    assert len(worst) == 1
    # Of the groups that are large enough to tell: small ones may be lower by chance.
    assert worst[0].num_tested >= 2 * FEWEST_OF_A_KIND
    assert worst[0].value <= min(s.value for s in slices if s.num_tested == 200)
    assert all(s.low <= s.value <= s.high for s in slices)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_incumbent_gives_way_only_to_what_is_better_beyond_chance(new_lake, monkeypatch):
    lake, day_before = new_lake(**SECTIONS), AS_OF - timedelta(days=1)
    labelled = leaving_customers(lake.spark, days=DAYS, num_customers=300).persist()
    lake.replace(labelled.drop("is_churned"), into=t.CUSTOMER_FEATURES)
    lake.replace(their_orders(labelled), into=t.CUSTOMER_DAYS)
    registry = Registry(lake.settings)

    def compared(leave_out, **sections):
        """The rows of the deciding metric, after a comparison without these models."""
        asked = {"leave_out": [*leave_out, *OTHERS], "take_in": [] if "gbt" in leave_out else ["gbt"]}
        settings = settings_from(lake.settings.model_dump(exclude={"models"}) | SECTIONS | sections
                                 | {"evaluation": SECTIONS["evaluation"] | asked})  # fmt: skip
        own = Lake(lake.spark, settings)
        train_churn.run(own, settings)
        rows = own.read_as_of(t.MODEL_METRICS).where("metric = 'average_precision'").collect()
        return {(row.model, row.is_incumbent): row for row in rows}

    trained = ["gbt", "logistic_regression"]
    assert compared(trained)["recency_rule", False].is_champion
    rule = registry.champion("churn", AS_OF)
    registry.elect(rule, from_on=day_before)
    rows = compared(trained)
    assert set(rows) == {("recency_rule", True), ("orders_rule", False)}, "the rule in use takes part once"
    assert rows["recency_rule", True].is_champion
    behind = rows["orders_rule", False]
    assert behind.lead_low < 0, "not better beyond chance"
    assert behind.behind == pytest.approx(-behind.lead)
    assert (behind.behind_low, behind.behind_high) == pytest.approx((-behind.lead_high, -behind.lead_low))

    won = compared(trained[1:])["gbt", False]
    assert won.is_champion
    assert won.behind is None
    assert 0 < won.lead_low <= won.lead <= won.lead_high
    assert registry.champion("churn", day_before) == rule, "the day before stays as it was"

    # Nearly the same trees again: the holdout model of those in use is tested beside them, and stays.
    trees = registry.champion("churn", AS_OF)
    registry.elect(trees, from_on=day_before)
    fit, goes_on_from = ChurnGbt.fit, []

    def watched(self, inputs, path, *, holdout=None, incumbent=None):
        goes_on_from.append((holdout, incumbent))
        fit(self, inputs, path, holdout=holdout, incumbent=incumbent)

    monkeypatch.setattr(ChurnGbt, "fit", watched)
    rows = compared(trained[1:], gbt=SECTIONS["gbt"] | {"seed": 8})
    assert {("gbt", True), ("gbt", False)} <= set(rows)
    assert rows["gbt", True].is_champion
    assert rows["gbt", True].model_version == trees.version != rows["gbt", False].model_version
    assert rows["gbt", False].lead_low <= 0
    assert goes_on_from == [(None, f"{trees.path}/{HOLDOUT}")], "what is tested may learn from nothing else"
    assert registry.champion("churn", AS_OF) == trees


@pytest.mark.long
def test_an_incumbent_that_cannot_be_tested_fairly_is_not_compared(new_lake, caplog):
    lake = new_lake(
        **SECTIONS | {"evaluation": SECTIONS["evaluation"] | {"leave_out": ["logistic_regression", *OTHERS]}}
    )
    labelled = leaving_customers(lake.spark, days=DAYS, num_customers=100).persist()
    lake.replace(labelled.drop("is_churned"), into=t.CUSTOMER_FEATURES)
    lake.replace(their_orders(labelled), into=t.CUSTOMER_DAYS)
    registry, day = Registry(lake.settings), AS_OF - timedelta(days=1)
    old = registry.register(
        "churn", "gbt", "gbt-of-old", save=lambda path: local_path(f"{path}/{HOLDOUT}").mkdir(parents=True),
        params={}, metrics={}, inputs={},
        metadata={"signature": '{"num_orders_90d": "string", "num_faxes": "bigint"}', "tested_on": str(DAYS[1])},
    )  # fmt: skip
    registry.elect(old, from_on=day)
    with caplog.at_level("WARNING"):
        train_churn.run(lake, lake.settings)
    reason = "num_orders_90d should be string and is bigint; num_faxes should be bigint and is missing"
    assert reason in caplog.text
    assert not any(m.is_incumbent for m in lake.read(t.MODEL_METRICS).collect()), "neither won nor lost"
    with caplog.at_level("WARNING"):
        for version, metadata, why in (
            ("gbt-longer", {"tested_on": str(DAYS[0])}, f"has seen days from {DAYS[1]} on, which are tested"),
            ("gbt-bare", {"tested_on": str(DAYS[1])}, "its holdout model is not there"),
            ("gbt-out", {"tested_on": str(DAYS[1])}, "evaluation.take_in does not name it"),
        ):
            asked = {"leave_out": ["logistic_regression", *OTHERS], "take_in": [] if version == "gbt-out" else ["gbt"]}
            sections = SECTIONS | {"evaluation": SECTIONS["evaluation"] | asked}
            each = Lake(lake.spark, settings_from(lake.settings.model_dump(exclude={"models"}) | sections))
            unfair = registry.register("churn", "gbt", version, save=lambda path: None, params={}, metrics={}, inputs={},
                                       metadata=metadata)  # fmt: skip
            registry.elect(unfair, from_on=day)
            with Churn().split(each) as split:
                assert Contest(each, registry, Churn(), split, [], unfair).incumbent is None
            assert why in caplog.text
    registry.elect(old, from_on=day)
    with pytest.raises(ModelError, match="gbt-of-old does not fit the rows of 2024-02-29"):
        score_customers.run(on(lake, day), on(lake, day).settings)


@pytest.mark.long
def test_a_model_that_could_not_be_trained_is_tried_again_the_same_day(new_lake, monkeypatch):
    sections = SECTIONS | {"evaluation": {"replicates": 50, "folds": 2, "leave_out": OTHERS}}
    lake = new_lake(**sections)
    labelled = leaving_customers(lake.spark, days=DAYS, num_customers=100).persist()
    lake.replace(labelled.drop("is_churned"), into=t.CUSTOMER_FEATURES)
    lake.replace(their_orders(labelled), into=t.CUSTOMER_DAYS)

    def no_library(*_, **__) -> None:
        raise ModelError("its library is not installed")

    with monkeypatch.context() as broken:
        broken.setattr(LoggedRegression, "fit", no_library)
        train_churn.run(lake, lake.settings)
        assert lake.missing == ["logistic_regression: its library is not installed"]
    tested = {row.model for row in lake.read(t.MODEL_METRICS).collect()}
    assert tested == {"recency_rule", "orders_rule"}
    train_churn.run(lake, lake.settings)
    assert {row.model for row in lake.read(t.MODEL_METRICS).collect()} == tested | {"logistic_regression"}


@pytest.mark.long
def test_als_wins_where_tastes_are_shared(new_lake):
    lake = new_lake(**SECTIONS)
    random, tested_on = np.random.default_rng(2), AS_OF - STEP
    tastes = [(f"c{c:02d}", c, list(random.permutation(10) + 10 * (c % 2))) for c in range(40)]
    noon = datetime(2024, 2, 10, 12, tzinfo=UTC)
    pairs = [
        (customer, index, f"i{item}", int(item) + 1, day, 1, 5.0, noon)
        for customer, index, items in tastes
        for day, known in ((tested_on, items[:6]), (AS_OF, items[:8]))
        for item in known
    ]
    lake.replace(lake.spark.createDataFrame(pairs, t.INTERACTIONS.schema), into=t.INTERACTIONS)
    vocabulary = [(f"i{item}", day, item + 1, 9, None) for item in range(20) for day in (tested_on, AS_OF)]
    lake.replace(lake.spark.createDataFrame(vocabulary, _names(t.ITEM_VOCABULARY)), into=t.ITEM_VOCABULARY)
    bought = [
        (f"e{c}{i}", c, "purchase", noon, noon, f"i{i}", "made", "b") for c, _, items in tastes for i in items[6:8]
    ]
    events = lake.spark.createDataFrame(
        bought,
        "event_id string, customer_id string, kind string, occurred_at timestamp, known_at timestamp, "
        "item_id string, source string, batch_id string",
    )
    rest = {c.name: F.lit(None).cast(c.type) for c in t.EVENTS.columns if c.name not in events.columns}
    lake.replace(events.withColumns(rest), into=t.EVENTS)

    # A day on which each customer buys the items known first: by customer, and by item.
    day = F.lit(tested_on - timedelta(days=1))
    pairs_then = lake.spark.createDataFrame(
        [(c, f"i{i}") for c, _, items in tastes for i in items[:6]], "customer_id string, item_id string"
    ).withColumns({"day_on": day, "known_on": day, "num_lines": F.lit(1), "num_events": F.lit(1)})
    lake.replace(filled(pairs_then, t.CUSTOMER_ITEM_DAYS), into=t.CUSTOMER_ITEM_DAYS)
    counts = {name: F.count("*") for name in ("num_lines", "num_buyer_days", "num_events")}
    counted = pairs_then.groupBy("item_id", "day_on", "known_on").agg(*(n.alias(name) for name, n in counts.items()))
    lake.replace(filled(counted, t.ITEM_DAYS), into=t.ITEM_DAYS)
    lake.replace(
        lake.spark.createDataFrame([("c00", AS_OF, [1], 1, None, None, None)], t.ITEM_SEQUENCES.schema),
        into=t.ITEM_SEQUENCES,
    )

    for _ in range(2):
        train_recommenders.run(lake, lake.settings)
    figures = {(m.model, m.metric): m for m in lake.read(t.MODEL_METRICS).collect()}
    models = ("als", "popularity", "recent_popularity", "own_favourites")
    assert set(figures) == {(m, k) for m in models for k in Recommendation.metrics}
    assert figures["als", "ndcg_at_10"].value > figures["popularity", "ndcg_at_10"].value + 0.1
    served = Registry(lake.settings).champion("recommendation", AS_OF)
    assert served.model == "als"
    assert figures["als", "ndcg_at_10"].is_champion


def _names(table: Table):
    return ", ".join(f"{c.name} {c.type.simpleString()}" for c in table.columns)
