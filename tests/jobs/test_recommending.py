import pytest
from pyspark.sql import functions as F
from small_shop import NUM_CUSTOMERS

from clm_spark.errors import SettingsError
from clm_spark.models.recommendation import Recommendation
from clm_spark.models.recommender import Recommender
from clm_spark.models.registry import Registry
from clm_spark.pipeline import JOBS
from clm_spark.privacy.pseudonyms import pseudonym
from clm_spark.settings import ShopFactsSettings
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

ORDER = ("load_shop_facts", "build_interactions", "train_recommenders", "recommend_items")
SOLD_OUT, MAILED = "1003", 4
SECTIONS = {
    "als": {"rank": 4, "iterations": 3, "blocks": 2},
    "recommend": {"top_k": 5, "min_item_events": 2},
    "surfaces": {"email": {"length": 3}, "product_page": {"length": 2}},
    "transformer": {
        "launcher": "one_process", "ranks": 1, "layers": 1, "heads": 2, "width": 16, "max_length": 32,
        "epochs": 2, "negatives": 8, "steps": 8, "horizon": 8, "batch_size": 8,
    },
}  # fmt: skip


def hashed(lake: Lake, customer: int) -> str:
    named = lake.spark.range(1).select(pseudonym(F.lit(str(customer)), key=lake.schemas.key))
    return named.head()[0]


def run(lake: Lake, name: str) -> Lake:
    """Run a job as a process of its own would, and hold it to the tables it declares."""
    job, fresh = next(job for job in JOBS if job.name == name), Lake(lake.spark, lake.settings)
    job.load()[0](fresh, fresh.settings)
    declared = {table.title for table in (*job.reads, *job.writes)}
    assert set(fresh.inputs) | {write.table for write in fresh.written} <= declared, name
    return fresh


def frames_cached(spark):
    """What stands in Spark's cache, but for the state of Delta's tables."""
    held = spark.sparkContext._jsc.getPersistentRDDs()
    return {key for key in held if "Delta" not in str(held[key].name())}


@pytest.mark.timeout(1500)
def test_lists_are_made_from_events_and_made_again(new_lake, small_shop, tmp_path, monkeypatch):
    (tmp_path / "items.csv").write_text(f"item_id,num_in_stock\n{SOLD_OUT},0\n1004,7\n")
    (tmp_path / "agreed.csv").write_text(f"customer_id,channel,is_allowed\n{MAILED},email,yes\n5,email,no\n6,sms,yes\n")
    facts = {"items": f"{tmp_path}/items.csv", "permissions": f"{tmp_path}/agreed.csv"}
    own, shop = new_lake(**SECTIONS, shop_facts=facts), small_shop.lake.settings.lakehouse
    # The small shop's events, in silver, and gold tables of our own.
    place = own.settings.lakehouse.model_copy(update={"bronze": shop.bronze, "silver": shop.silver})
    lake = Lake(own.spark, own.settings.model_copy(update={"lakehouse": place}))
    for table in (t.ITEM_DAYS, t.CUSTOMER_ITEM_DAYS, t.PAIR_FEATURES, t.ITEM_FEATURES, t.CUSTOMER_FEATURES):
        lake.replace(small_shop.lake.read(table), into=table)
    cached = frames_cached(lake.spark)
    for name in ORDER:
        run(lake, name)
    assert frames_cached(lake.spark) <= cached, "what the models of a job share leaves Spark's cache with it"
    figures = {(m.model, m.metric): m for m in lake.read(t.MODEL_METRICS).collect()}
    models = {"popularity", "recent_popularity", "own_favourites", "user_neighbours", "als", "ranker", "transformer"}
    assert set(figures) == {(model, metric) for model in models for metric in Recommendation.metrics}
    served = Registry(lake.settings).champion("recommendation", lake.settings.as_of)
    best = served.model
    assert figures[best, "ndcg_at_10"].value == max(figures[model, "ndcg_at_10"].value for model in models)

    slices = lake.read(t.SLICE_METRICS).collect()
    assert {(row.score, row.model, row.slice) for row in slices} == {
        ("recommendation", best, name) for name in ("tenure", "items", "purchases")
    }
    everywhere = lake.read(t.ITEM_RECOMMENDATIONS)
    lists = everywhere.where("surface = 'home'")
    assert {row.source for row in lists.collect()} <= {best, "popularity"}
    assert {row.model_version for row in lists.collect()} == {served.version}
    ranks = lists.groupBy("customer_id").agg(F.sort_array(F.collect_list("rank")).alias("ranks")).collect()
    assert len(ranks) == NUM_CUSTOMERS
    assert {tuple(row.ranks) for row in ranks} == {(1, 2, 3, 4, 5)}
    twice = lists.groupBy("customer_id", "item_id").count().where("count > 1")
    assert twice.isEmpty(), "an item stands in a list once"

    assert everywhere.where(F.col("item_id") == SOLD_OUT).isEmpty()
    mailed = everywhere.where("surface = 'email'").collect()
    assert {row.customer_id for row in mailed} == {hashed(lake, MAILED)}, "one agreed"
    assert sorted(row["rank"] for row in mailed) == [1, 2, 3]
    bought = lake.read(t.CUSTOMER_ITEM_DAYS).where("num_lines > 0").select("customer_id", "item_id")
    beside = everywhere.where("surface = 'product_page'")
    assert beside.join(bought, on=["customer_id", "item_id"], how="left_semi").isEmpty()
    assert {tuple(row) for row in beside.groupBy("customer_id").count().select("count").distinct().collect()} == {(2,)}
    removed = {(row.surface, row.rule): row for row in lake.read(t.RECOMMENDATION_EXCLUSIONS).collect()}
    rules = {("email", "permission"), ("email", "category_cap"), ("product_page", "min_new")}
    assert set(removed) == rules | {(surface, "stock") for surface in t.SURFACES}
    assert removed["email", "permission"].num_customers == NUM_CUSTOMERS - 1
    assert removed["email", "category_cap"].num_customers == 1, "the one who agreed"
    assert removed["email", "permission"].num_candidates >= 5 * (NUM_CUSTOMERS - 1), "at least what is shown at home"
    assert removed["home", "stock"].num_customers > 0
    newest = lake.spark.table(f"{lake.schemas.name('analysts')}.todays_lists")
    assert newest.count() == everywhere.count()

    tables = (t.MODEL_METRICS, t.ITEM_RECOMMENDATIONS, t.RECOMMENDATION_EXCLUSIONS)
    before = [sorted(map(str, lake.read(table).collect())) for table in tables]
    for name in (ORDER[0], *ORDER[2:]):
        run(lake, name)
    assert before == [sorted(map(str, lake.read(table).collect())) for table in tables]

    # Files that say the same are not written again; one that is named no more says nothing.
    def versions() -> list[int]:
        return [lake.commits(table)[0].version for table in (t.ITEM_FACTS, t.CONTACT_PERMISSIONS)]

    kept = versions()
    run(lake, "load_shop_facts")
    assert versions() == kept
    (tmp_path / "agreed.csv").write_text(f"customer_id,channel,is_allowed\n{MAILED},email,no\n")
    run(lake, "load_shop_facts")
    assert [row.is_allowed for row in lake.read(t.CONTACT_PERMISSIONS).collect()] == [False]
    unnamed = lake.settings.model_copy(update={"shop_facts": ShopFactsSettings(items=facts["items"])})
    run(Lake(lake.spark, unnamed), "load_shop_facts")
    assert lake.read(t.CONTACT_PERMISSIONS).isEmpty()
    assert versions() == [kept[0], kept[1] + 2]

    lake.replace(lake.read(t.ITEM_FEATURES).limit(0), into=t.ITEM_FEATURES)
    monkeypatch.setattr(Recommender, "explain", lambda *_, **__: pytest.fail("asked for lists that cannot be written"))
    with pytest.raises(SettingsError, match=r"gold.item_features has no row as of"):
        run(lake, "recommend_items")
