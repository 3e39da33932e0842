from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from leaving_customers import leaving_customers, their_orders
from pyspark.sql import functions as F

from clm_spark.errors import ModelError
from clm_spark.jobs import score_customers, train_als, train_churn, train_segments
from clm_spark.models.registry import Registry
from clm_spark.tables import catalog as t
from clm_spark.tables.contract import Table

AS_OF, STEP = date(2024, 3, 1), timedelta(days=28)
DAYS = [AS_OF - STEP * back for back in range(4)]
SECTIONS = {
    "features": {"panel_every_days": 28, "panel_size": 4},
    "churn": {"horizon_days": 28, "max_iterations": 3, "max_depth": 3, "feature_share": 1.0, "min_leaf_customers": 5},
    "als": {"rank": 4, "iterations": 4, "alpha": 1.0, "blocks": 2},
    "recommend": {"top_k": 5, "hide_seen": True},
    "segments": {"k_to": 3},
}


def stored(lake, table):
    return sorted(map(str, lake.read(table).collect()))


def test_churn_and_segments_are_learned_once_and_scored(new_lake):
    lake = new_lake(**SECTIONS)
    with pytest.raises(ModelError, match="no churn model is in use on 2024-03-01"):
        score_customers.run(lake, lake.settings)
    labelled = leaving_customers(lake.spark, days=DAYS, num_customers=200).persist()
    features = labelled.drop("is_churned")
    lake.replace(features, into=t.CUSTOMER_FEATURES)
    lake.replace(their_orders(labelled), into=t.CUSTOMER_DAYS)
    written = {}
    for _ in range(2):
        for job in (train_segments, train_churn, score_customers):
            job.run(lake, lake.settings)
        for table in (t.SEGMENTS, t.SEGMENT_PROFILES, t.CUSTOMER_SCORES, t.MODEL_METRICS, t.SCORE_DECILES):
            rows = stored(lake, table)
            assert rows
            assert written.setdefault(table.name, rows) == rows, "the second run leaves the same rows"
    client = Registry(lake.settings)._store.client
    assert len(client.search_model_versions("name = 'test_shop-churn'")) == 1, "learned once"

    scores = lake.read(t.CUSTOMER_SCORES).collect()
    assert {s.customer_id for s in scores} == {f.customer_id for f in features.where(F.col("as_of") == AS_OF).collect()}
    assert {s.model_version for s in scores} == {Registry(lake.settings).champion("churn", AS_OF).version}
    auc = {m.model: m.value for m in lake.read(t.MODEL_METRICS).where("metric = 'auc'").collect()}
    assert auc["gbt"] > max(auc["recency_rule"], auc["orders_rule"])
    tested = {m.tested_on for m in lake.read(t.MODEL_METRICS).where("task = 'churn'").collect()}
    assert tested == {DAYS[1]}


@pytest.mark.long
def test_als_is_tried_on_the_days_held_out(new_lake):
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

    for _ in range(2):
        train_als.run(lake, lake.settings)
    figures = {(m.model, m.metric): m.value for m in lake.read(t.MODEL_METRICS).collect()}
    assert set(figures) == {(m, k) for m in ("als", "popularity") for k in ("recall_at_20", "ndcg_at_10")}
    assert figures["als", "ndcg_at_10"] > figures["popularity", "ndcg_at_10"] + 0.1
    # Every item is ranked within 20 here: recall tells nothing apart, so nothing is promoted.
    assert Registry(lake.settings).champion("als", AS_OF) is None


def _names(table: Table):
    return ", ".join(f"{c.name} {c.type.simpleString()}" for c in table.columns)
