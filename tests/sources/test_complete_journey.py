from pathlib import Path

import pytest
from ingesting import KEY, ingest
from pyspark.sql import functions as F

from clm_spark.errors import SourceError
from clm_spark.events.ingest.parse import typed_events
from clm_spark.sources.complete_journey import CompleteJourney
from clm_spark.sources.source import list_files, records_of

FETCHED = Path(__file__).parents[2] / "data" / "complete_journey"


@pytest.fixture
def journey(spark, tmp_path) -> Path:
    """Two households, in files like the published ones."""
    files = {
        "transactions": (
            "household_id long, store_id long, basket_id long, product_id long, quantity long, sales_value double, "
            "retail_disc double, coupon_disc double, coupon_match_disc double, transaction_timestamp timestamp_ntz",
            [(900, 330, 71, 5, 2, 1.39, 0.1, 0.25, 0.05, "2017-01-01 11:53:26"), (901, 330, 72, 6, 1, 0.0, 0.0, 0.0, 0.0, "2017-01-02 09:00:00")],
        ),
        "campaigns": ("campaign_id long, household_id long", [(1, 900), (1, 901)]),
        "campaign_descriptions": ("campaign_id long, campaign_type string, start_date timestamp_ntz", [(1, "Type B", "2017-03-03 00:00:00")]),
        "coupon_redemptions": ("household_id long, coupon_upc long, campaign_id long, redemption_date timestamp_ntz", [(900, 55, 1, "2017-03-09 00:00:00")]),
        "products": ("product_id long, brand string, product_category string", [(5, "Private", "BREAD"), (6, "National", None)]),
    }  # fmt: skip
    for name, (schema, rows) in files.items():
        texts = spark.createDataFrame([tuple(map(_text, row)) for row in rows], ", ".join(f"{c.split()[0]} string" for c in schema.split(", ")))  # fmt: skip
        typed = texts.select(*(F.col(c.split()[0]).cast(c.split()[1]) for c in schema.split(", ")))
        typed.coalesce(1).write.parquet(str(tmp_path / "made" / name))
        part = next((tmp_path / "made" / name).glob("part-*.parquet"))
        part.rename(tmp_path / f"{name}.parquet")
    return tmp_path


def _text(value):
    return None if value is None else str(value)


def test_lines_campaigns_and_coupons_become_events(spark, journey):
    ingested = ingest(spark, CompleteJourney(str(journey)), journey)
    got = sorted(
        (r.kind, str(r.occurred_at.date()), r.item_id, r.category, r.brand, r.quantity, r.amount_cents, r.discount_cents, r.order_id, r.campaign_id)
        for r in ingested.kept.where("kind != 'purchase' OR amount_cents > 0").collect()
    )  # fmt: skip
    assert got == [
        ("campaign_sent", "2017-03-03", None, None, None, None, None, None, None, "1"),
        ("campaign_sent", "2017-03-03", None, None, None, None, None, None, None, "1"),
        ("coupon_redeemed", "2017-03-09", None, None, None, None, None, None, None, "1"),
        ("purchase", "2017-01-01", "5", "BREAD", "Private", 2, 139, 40, "71", None),
    ]
    assert (ingested.num_read, ingested.num_kept, ingested.reasons) == (5, 5, {})


def test_a_folder_that_lacks_a_file_is_named(spark, journey):
    (journey / "products.parquet").unlink()
    with pytest.raises(SourceError, match=r"no raw data at .*products\.parquet"):
        ingest(spark, CompleteJourney(str(journey)), journey)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_published_counts_hold(spark):
    if not FETCHED.is_dir():
        pytest.skip(f"needs The Complete Journey at {FETCHED}: make data")
    source = CompleteJourney(str(FETCHED))
    files = [file.url for file in list_files(spark, str(FETCHED), endings=source.file_endings)]
    typed = typed_events(
        source.fields(records_of(source.read(spark, files))),
        source=source.name,
        time_format="iso",
        known_at="occurred",
        key=KEY,
    )
    counted = typed.groupBy("kind", "reason").agg(
        F.count("*").alias("n"),
        F.sum("amount_cents").alias("cents"),
        F.count_distinct("customer_id").alias("households"),
        F.count_distinct("order_id").alias("baskets"),
    )
    got = {(row.kind, row.reason): (row.n, row.cents, row.households, row.baskets) for row in counted.collect()}
    assert got["purchase", None] == (1_469_307, 459_603_958, 2_469, 155_848)
    assert {kind: row[0] for kind, row in got.items()} == {
        ("purchase", None): 1_469_307,
        ("campaign_sent", None): 6_589,
        ("coupon_redeemed", None): 2_102,
    }
