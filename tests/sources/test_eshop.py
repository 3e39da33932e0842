from conftest import real_data
from ingesting import ingest
from pyspark.sql import functions as F

from clm_spark.sources.eshop import HEADER, Eshop

CASES = [
    ("2008;4;1;1;29;1;1;A13;1;5;1;28;2;1", "view"),
    ("2008;4;1;2;29;1;4;P1;1;6;1;33;2;1", "view"),
    ("2008;2;30;1;29;1;1;A13;1;5;1;28;2;1", "impossible_time"),
    ("2008;4;1;first;29;1;1;A13;1;5;1;28;2;1", "impossible_time"),
    ("2008;4;1;1;29;1;1;;1;5;1;28;2;1", "missing_item"),
    ("2008;4;1;1;29;1;1;A13;1;5;1;28;2", "unparsable"),
]


def test_clicks_are_ordered(spark, tmp_path):
    (tmp_path / "clicks.csv").write_text("\n".join([HEADER, *(line for line, _ in CASES)]))
    ingested = ingest(spark, Eshop(), tmp_path)
    rows = {row.record: row for row in ingested.typed.collect()}
    assert [(line, rows[line].reason or rows[line].kind) for line, _ in CASES] == CASES
    first, second = (rows[line] for line, _ in CASES[:2])
    assert (first.happened, first.price_cents, first.category) == ("2008-04-01 00:00:01", 2800, "trousers")
    assert (second.happened, second.item_id, second.category) == ("2008-04-01 00:00:02", "P1", "sale")
    assert first.attributes == {
        "country": "29", "colour": "1", "location": "5", "model_photography": "1", "price_2": "2", "page": "1",
    }  # fmt: skip


def test_the_real_sample(spark):
    ingested = ingest(spark, Eshop(), real_data("eshop_clickstream"))
    assert ingested.num_read == ingested.num_kept == 165_474
    assert (ingested.kinds, ingested.reasons, ingested.is_whole) == ({"view": 165_474}, {}, True)
    clicks = ingested.kept.select("customer_id", "item_id", F.col("attributes")["country"].alias("country")).toPandas()
    assert clicks.nunique().to_dict() == {"customer_id": 24_026, "item_id": 217, "country": 47}
