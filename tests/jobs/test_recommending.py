import pytest
from pyspark.sql import functions as F
from small_shop import NUM_CUSTOMERS

from clm_spark.models.recommendation import Recommendation
from clm_spark.models.registry import Registry
from clm_spark.pipeline import JOBS
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

ORDER = ("build_interactions", "train_recommenders", "recommend_items")
SECTIONS = {
    "als": {"rank": 4, "iterations": 3, "blocks": 2},
    "recommend": {"top_k": 5, "min_item_events": 2},
    "transformer": {
        "launcher": "one_process", "ranks": 1, "layers": 1, "heads": 2, "width": 16, "max_length": 32,
        "epochs": 2, "negatives": 8, "steps": 8, "horizon": 8, "batch_size": 8,
    },
}  # fmt: skip


def run(lake: Lake, name: str) -> Lake:
    """Run a job as a process of its own would, and hold it to the tables it declares."""
    job, fresh = next(job for job in JOBS if job.name == name), Lake(lake.spark, lake.settings)
    job.load()[0](fresh, fresh.settings)
    declared = {table.title for table in (*job.reads, *job.writes)}
    assert set(fresh.inputs) | {write.table for write in fresh.written} <= declared, name
    return fresh


@pytest.mark.timeout(900)
def test_lists_are_made_from_events_and_made_again(new_lake, small_shop):
    own, shop = new_lake(**SECTIONS), small_shop.lake.settings.lakehouse
    # The small shop's events, in silver, and gold tables of our own.
    place = own.settings.lakehouse.model_copy(update={"bronze": shop.bronze, "silver": shop.silver})
    lake = Lake(own.spark, own.settings.model_copy(update={"lakehouse": place}))
    for table in (t.ITEM_DAYS, t.CUSTOMER_ITEM_DAYS):
        lake.replace(small_shop.lake.read(table), into=table)
    for name in ORDER:
        run(lake, name)
    figures = {(m.model, m.metric): m for m in lake.read(t.MODEL_METRICS).collect()}
    models = {"popularity", "recent_popularity", "own_favourites", "user_neighbours", "als", "ranker", "transformer"}
    assert set(figures) == {(model, metric) for model in models for metric in Recommendation.metrics}
    served = Registry(lake.settings).champion("recommendation", lake.settings.as_of)
    best = served.model
    assert figures[best, "ndcg_at_10"].value == max(figures[model, "ndcg_at_10"].value for model in models)

    lists = lake.read(t.ITEM_RECOMMENDATIONS)
    assert {row.source for row in lists.collect()} <= {best, "popularity"}
    assert {row.model_version for row in lists.collect()} == {served.version}
    ranks = lists.groupBy("customer_id").agg(F.sort_array(F.collect_list("rank")).alias("ranks")).collect()
    assert len(ranks) == NUM_CUSTOMERS
    assert {tuple(row.ranks) for row in ranks} == {(1, 2, 3, 4, 5)}
    twice = lists.groupBy("customer_id", "item_id").count().where("count > 1")
    assert twice.isEmpty(), "an item stands in a list once"

    tables = (t.MODEL_METRICS, t.ITEM_RECOMMENDATIONS)
    before = [sorted(map(str, lake.read(table).collect())) for table in tables]
    for name in ORDER[1:]:
        run(lake, name)
    assert before == [sorted(map(str, lake.read(table).collect())) for table in tables]
