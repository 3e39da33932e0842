from datetime import date, timedelta

import pytest
from small_shop import SmallShop

from clm_spark.report.profiles import scores_in_columns
from clm_spark.tables import catalog as t

SCORES = [  # customer, score, value, decile, reasons, low, high, label
    ("ann", "churn", 0.8, 1, ["no purchase for 60 days"], None, None, None),
    ("ann", "purchase", 0.1, 9, None, None, None, None),
    ("ann", "value", 1250.0, 4, None, 900.0, 1700.0, None),
    ("ann", "refunds", 0.4, 1, None, 0.3, 0.5, "refund_prone"),
    ("ann", "discounts", 0.9, 1, None, 0.8, 1.0, "discount_only"),
    ("ben", "value", 0.0, 10, None, 0.0, 10.0, None),
    ("ben", "of_next_year", 7.0, 1, None, None, None, "told elsewhere"),
    ("cid", "refunds", 0.0, 9, None, 0.0, 0.1, "usual"),
]


def test_scores_stand_in_columns(spark):
    rows = spark.createDataFrame(
        SCORES,
        "customer_id string, score string, value double, decile int, reasons array<string>, low double, high double, label string",
    )
    found = {row.customer_id: row.asDict() for row in scores_in_columns(rows).collect()}
    ann, ben = found["ann"], found["ben"]
    assert (ann["churn_probability"], ann["churn_decile"], ann["churn_reasons"]) == (
        0.8,
        1,
        ["no purchase for 60 days"],
    )
    assert (ann["purchase_probability"], ann["purchase_decile"], ann["purchase_reasons"]) == (0.1, 9, None)
    assert [ann[f"value{name}"] for name in ("_cents", "_low_cents", "_high_cents", "_decile")] == [1250, 900, 1700, 4]
    assert [found[who]["risk_flags"] for who in ("ann", "ben", "cid")] == [["discount_only", "refund_prone"], None, []]
    assert (ben["churn_probability"], ben["value_cents"], ben["value_decile"]) == (None, 0, 10)


@pytest.mark.timeout(1500)  # whichever test comes first waits for the small shop
def test_profiles_say_what_the_tables_say(small_shop: SmallShop):
    lake = small_shop.lake
    profiles = {row.customer_id: row for row in lake.read_as_of(t.CUSTOMER_PROFILES).collect()}
    stages = {row.customer_id: row.stage for row in lake.read_as_of(t.LIFECYCLE_STAGES).collect()}
    cells = {row.customer_id: row.cell for row in lake.read_as_of(t.RFM_SCORES).collect()}
    features = {row.customer_id: row for row in lake.read_as_of(t.CUSTOMER_FEATURES).collect()}
    assert {who: row.stage for who, row in profiles.items()} == stages
    assert {who: row.rfm_cell for who, row in profiles.items() if row.num_orders} == cells
    for who, row in profiles.items():
        known = features[who]
        assert row.segment_description == ("buys often" if known.num_orders >= 8 else "buys now and then")
        assert row.churn_probability == pytest.approx(min(1, (known.purchase_recency_days or 80) / 80))
        assert (row.purchase_probability, row.purchase_reasons) == (None, None), "no such model has scored"
        assert row.value_cents == 108_000 - 8_000 * row.value_decile
        assert len(row.next_items) == t.NUM_NEXT_ITEMS
        if known.num_orders:
            assert row.last_purchase_on == date(2024, 3, 1) - timedelta(days=known.purchase_recency_days)
        if known.mean_gap_days:
            assert row.due_on == row.last_purchase_on + timedelta(days=int(known.mean_gap_days + 0.5))
    assert any(row.due_on for row in profiles.values())
