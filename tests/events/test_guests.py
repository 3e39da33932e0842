"""Orders of guests and records with an id of their own, over two batches: who and what they count for."""

import pytest
import yaml

from clm_spark.features.items import pair_features
from clm_spark.features.partials import update_customer_days, update_customer_item_days, update_item_days
from clm_spark.jobs import ingest_events
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_ITEM_DAYS, EVENTS, ITEM_DAYS

HEADER = "id,when,who,what,sku,price"
FIELDS = {
    "event_id": "id", "occurred_at": "when", "customer_id": "who", "kind": "what", "item_id": "sku", "price": "price",
}  # fmt: skip
FIRST = [
    "e1,2024-01-10 10:00:00,u1,purchase,a,5.00",
    "e2,2024-01-10 11:00:00,,purchase,a,5.00",
    "e3,2024-01-10 12:00:00,,purchase,a,5.00",
    "e4,2024-01-10 13:00:00,,refund,a,5.00",
    "e5,2024-01-10 14:00:00,u1,view,b,",
]
SECOND = [
    "e2,2024-01-10 11:00:00,,purchase,a,5.00",
    "e3,2024-01-12 12:00:00,,purchase,a,9.00",  # the same order, its time and price corrected
    "e6,2024-01-10 15:00:00,,purchase,b,2.00",
]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_guests_count_for_items_and_not_as_customers(new_lake, tmp_path):
    folder, mapping = tmp_path / "log", tmp_path / "shop.yml"
    folder.mkdir()
    mapping.write_text(yaml.safe_dump({"format": "csv", "header": HEADER, "fields": FIELDS}))
    ingest = {"source": "mapping", "path": str(folder), "mapping": str(mapping), "guests": "kept"}
    lake = new_lake(ingest=ingest)
    items = []
    for name, lines in (("1", FIRST), ("2", SECOND)):
        (folder / f"{name}.csv").write_text("\n".join([HEADER, *lines]) + "\n")
        ingest_events.run(lake, lake.settings)
        update_customer_days(lake, lake.settings)
        update_customer_item_days(lake)
        update_item_days(lake)
        newest = lake.read(ITEM_DAYS).orderBy("item_id", "known_on")
        items.append(
            [
                (
                    row.item_id,
                    row.num_lines,
                    row.num_refunds,
                    row.revenue_cents,
                    row.num_buyer_days,
                    row.num_viewer_days,
                )
                for row in newest.collect()
            ]
        )
    assert items[0] == [("a", 3, 1, 1_500, 1, 0), ("b", 0, 0, 0, 0, 1)]
    assert items[1] == [("a", 3, 1, 1_500, 1, 0), ("b", 1, 0, 200, 0, 1)]
    events = lake.read(EVENTS)
    assert (events.count(), events.where("customer_id IS NULL").count()) == (6, 4)
    days = [(row.num_orders, row.revenue_cents) for row in lake.read(CUSTOMER_DAYS).collect()]
    assert days == [(1, 500)]
    pairs = pair_features(lake.read(CUSTOMER_ITEM_DAYS), days=[lake.settings.as_of])
    assert {row.item_id for row in pairs.collect()} == {"a", "b"}
    assert pairs.select("customer_id").distinct().count() == 1
