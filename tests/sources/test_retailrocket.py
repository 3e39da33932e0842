import pytest
from conftest import real_data
from ingesting import ingest

from clm_spark.errors import SourceError
from clm_spark.sources.retailrocket import EVENTS_HEADER, Retailrocket

CASES = [
    ("1433221332117,257597,view,355908,", "view"),
    ("1433224214164,992329,addtocart,248676,", "cart"),
    ("1433222276276,599528,transaction,356475,4000", "purchase"),
    ("1433222276276,599528,transaction,356475", "unparsable"),
    ("1433222276276,599528,transaction,356475,1,2", "unparsable"),
    ("soon,257597,view,355908,", "impossible_time"),
    ("1433221332117,,view,355908,", "missing_customer"),
    ("1433221332117,257597,transaction,,4001", "missing_item"),
]


def test_the_published_file(spark, tmp_path):
    (tmp_path / "events.csv").write_text("\n".join([EVENTS_HEADER, *(line for line, _ in CASES)]))
    (tmp_path / "category_tree.csv").write_text("categoryid,parentid\n1,2\n")
    ingested = ingest(spark, Retailrocket(), tmp_path)
    assert {row.record: row.reason or row.kind for row in ingested.typed.collect()} == dict(CASES)
    bought = ingested.kept.where("kind = 'purchase'").head()
    assert (bought.order_id, bought.item_id, bought.quantity, bought.amount_cents) == ("4000", "356475", 1, None)
    moments = {row.record: row.happened for row in ingested.typed.collect()}
    assert moments[CASES[2][0]] == "2015-06-02 05:17:56.276"
    assert ingested.is_whole


def test_forms_are_not_mixed(spark):
    with pytest.raises(SourceError, match=r"files of \.csv and \.parquet lie together"):
        Retailrocket().read(spark, ["a/events.csv", "b.parquet"])


def test_the_real_samples(spark):
    folder = real_data("retailrocket_sample")
    rows = ingest(spark, Retailrocket(), folder / "events_sample_5169.parquet")
    assert rows.num_read == 5_169
    assert rows.kinds == {"view": 4_732, "cart": 377, "purchase": 60}
    assert (rows.reasons, rows.num_duplicates, rows.is_whole) == ({}, 3, True)
    assert rows.kept.select("customer_id").distinct().count() == 1_092
    assert rows.kept.select("order_id").distinct().count() == 47 + 1, "and null"
    first = rows.typed.orderBy("position").head()
    assert first.happened == "2015-09-03 22:01:27.081"

    views = ingest(spark, Retailrocket(), folder / "views-10k.tsv.gz")
    assert (views.num_read, views.kinds, views.reasons) == (10_080, {"view": 10_080}, {})
    assert (views.num_duplicates, views.is_whole) == (17, True)
    first = views.typed.orderBy("position").head()
    assert (first.happened, first.item_id) == ("2015-09-11 20:49:49", "285930")
