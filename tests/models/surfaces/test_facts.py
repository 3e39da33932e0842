"""What the rules look at, from rows of the tables that hold it."""

from datetime import date

import pytest
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.models.surfaces import facts
from clm_spark.models.surfaces.facts import asked_facts, check_facts, shown_items, with_facts
from clm_spark.tables import catalog as t

AS_OF = date(2024, 3, 1)


def put(lake, table, *rows):
    """Rows by what a case is about; the other columns hold null, or 1 where they may not."""
    kinds = {c.name: c.type for c in table.columns}
    usual = {c.name: None if c.nullable else 1 for c in table.columns}
    asked = {name for row in rows for name in row}
    given = [{"as_of": AS_OF, **{name: row.get(name, usual[name]) for name in asked}} for row in rows]
    names = list(dict.fromkeys(name for row in given for name in row))
    schema = ", ".join(f"{name} {kinds[name].simpleString()}" for name in names)
    frame = lake.spark.createDataFrame([tuple(row.get(name) for name in names) for row in given], schema)
    rest = {c.name: F.lit(None if c.nullable else 1).cast(c.type) for c in table.columns if c.name not in names}
    lake.replace(frame.withColumns(rest).select(table.schema.names), into=table, as_of=AS_OF)


@pytest.fixture
def candidates(lake):
    rows = [("a", "milk"), ("a", "fridge"), ("a", "new"), ("a", "other loose"), ("b", "milk"), ("stranger", "milk")]
    return lake.spark.createDataFrame(rows, "customer_id string, item_id string")


def test_facts_come_from_what_was_known_of_pair_item_and_customer(lake, candidates):
    put(
        lake, t.PAIR_FEATURES,
        {"customer_id": "a", "item_id": "milk", "category": "food", "purchase_recency_days": 3, "mean_gap_days": 7.0,
         "num_impressions_30d": 4},
        {"customer_id": "b", "item_id": "milk", "category": "food", "purchase_recency_days": 9, "mean_gap_days": None},
        {"customer_id": "c", "item_id": "tea", "category": "food", "purchase_recency_days": 9, "mean_gap_days": 21.0},
        {"customer_id": "d", "item_id": "tea", "category": "drinks", "purchase_recency_days": 9, "mean_gap_days": 35.0},
        {"customer_id": "a", "item_id": "fridge", "category": "white goods", "purchase_recency_days": 30},
        {"customer_id": "c", "item_id": "loose", "category": None, "purchase_recency_days": 9, "mean_gap_days": 14.0},
        {"customer_id": "a", "item_id": "other loose", "category": None, "purchase_recency_days": 2},
    )  # fmt: skip
    put(
        lake, t.ITEM_FEATURES,
        {"item_id": "milk", "category": "food", "mean_price_90d_cents": None, "mean_price_365d_cents": 110.0},
        {"item_id": "fridge", "category": "white goods", "mean_price_90d_cents": 50_000.0, "mean_price_365d_cents": 1.0},
        {"item_id": "tea", "category": "food"},  # which was called drinks when d last bought it
    )  # fmt: skip
    put(
        lake, t.CUSTOMER_FEATURES,
        {"customer_id": "a", "revenue_365d_cents": 1000, "num_units_365d": 4},
        {"customer_id": "b", "revenue_365d_cents": 0, "num_units_365d": 0},
    )  # fmt: skip
    put(
        lake, t.ITEM_FACTS,
        {"item_id": "milk", "num_in_stock": 5, "brand": "Alm", "is_excluded": False, "is_sponsored": True},
        {"item_id": "new", "num_in_stock": 0, "brand": None, "is_excluded": True, "is_sponsored": False},
    )  # fmt: skip
    put(
        lake, t.CONTACT_PERMISSIONS,
        {"customer_id": "a", "channel": "email", "is_allowed": True},
        {"customer_id": "a", "channel": "sms", "is_allowed": False},
        {"customer_id": "stranger", "channel": "sms", "is_allowed": True},
    )  # fmt: skip
    found = {(row.customer_id, row.item_id): row for row in with_facts(candidates, lake).collect()}
    assert len(found) == 6
    assert found["a", "other loose"].gap_days == 14.0, "items without a category are a group of their own"
    milk, fridge, new = found["a", "milk"], found["a", "fridge"], found["a", "new"]
    assert (milk.category, milk.brand, milk.num_in_stock, milk.is_sponsored) == ("food", "Alm", 5, True)
    assert (milk.bought_days_ago, milk.gap_days, milk.num_impressions) == (3, 7.0, 4)
    assert (milk.price_cents, milk.usual_price_cents, milk.channels) == (110.0, 250.0, ["email"])
    assert (fridge.bought_days_ago, fridge.gap_days, fridge.price_cents) == (30, None, 50_000.0), "nobody bought twice"
    assert (new.category, new.is_excluded, new.bought_days_ago, new.price_cents) == (None, True, None, None)
    assert found["b", "milk"].gap_days == 21.0, "the median of the category: 7, 21, 35"
    assert found["b", "milk"].usual_price_cents is None
    assert (found["stranger", "milk"].channels, found["stranger", "milk"].usual_price_cents) == (["sms"], None)


def test_where_nothing_is_known_all_candidates_stay(lake, candidates):
    rows = with_facts(candidates, lake).collect()
    assert len(rows) == 6
    added = [name for name in rows[0].asDict() if name not in ("customer_id", "item_id")]
    assert {"category", "num_in_stock", "channels", "gap_days"} <= {*added}
    assert all(row[name] is None for row in rows for name in added)


def test_a_rule_that_is_on_needs_the_facts_of_the_day(new_lake):
    off = {"home": {}, "email": {"permission": None, "max_per_category": None}, "product_page": {"min_new": 0}}
    cases = [
        ({}, {}, []),
        ({"home": {"price_band": [0.5, 2]}}, {}, [t.CUSTOMER_FEATURES, t.ITEM_FEATURES]),
        ({"home": {"max_impressions": 3}}, {}, [t.PAIR_FEATURES]),
        ({"home": {"max_impressions": 3, "length": 0}}, {}, []),
        ({"home": {"repeat_share": 0.5}}, {}, [t.ITEM_FEATURES, t.PAIR_FEATURES]),
        ({}, {"items": "items.csv", "permissions": "agreed.csv"}, [t.ITEM_FACTS, t.CONTACT_PERMISSIONS]),
    ]
    for surfaces, files, needed in cases:
        lake = new_lake(surfaces={**off, **{name: off[name] | of for name, of in surfaces.items()}}, shop_facts=files)
        assert asked_facts(lake.settings) == needed, (surfaces, files)
    with pytest.raises(SettingsError, match=r"silver.item_facts has no row as of 2024-03-01"):
        check_facts(lake)


def test_a_file_that_names_other_items_or_customers_is_refused(new_lake, caplog, monkeypatch):
    surfaces = {"home": {"permission": "SMS"}, "email": {"max_per_category": None}, "product_page": {"min_new": 0}}
    lake = new_lake(surfaces=surfaces, shop_facts={"items": "items.csv", "permissions": "agreed.csv"})
    items = ("007", "milk", "tea")
    put(lake, t.ITEM_VOCABULARY, *({"item_id": item, "item_index": n} for n, item in enumerate(items, 1)))
    put(lake, t.ITEM_INDICES, *({"item_id": item, "last_seen_on": AS_OF} for item in (*items, "rare")))
    rest = {c.name: F.lit(None if c.nullable else 1).cast(c.type) for c in t.CUSTOMER_ITEM_DAYS.columns}
    day = {"customer_id": F.lit("a"), "item_id": F.lit("rare"), "day_on": F.lit(AS_OF), "known_on": F.lit(AS_OF)}
    lake.replace(lake.spark.range(1).select(*(c.alias(n) for n, c in (rest | day).items())), into=t.CUSTOMER_ITEM_DAYS)

    def warnings():
        caplog.clear()
        with caplog.at_level("WARNING", logger="clm_spark.models.surfaces.facts"):
            check_facts(lake)
        return [record.getMessage().split(":")[0] for record in caplog.records if "facts" in record.name]

    agreed = {"customer_id": "a", "channel": "SMS", "is_allowed": True}
    put(lake, t.CONTACT_PERMISSIONS, agreed, agreed | {"channel": "email"})
    put(lake, t.ITEM_FACTS, {"item_id": "7", "num_in_stock": 0}, {"item_id": "8", "num_in_stock": 5})
    with pytest.raises(SettingsError, match=r"items\.csv names no item of the log: .* such as \w+, came [78] "):
        check_facts(lake)
    put(lake, t.ITEM_FACTS, {"item_id": "rare", "num_in_stock": None, "brand": None, "is_excluded": True})
    assert warnings() == [], "a list of what is excluded may be short"
    put(lake, t.ITEM_FACTS, {"item_id": "7", "num_in_stock": 0}, {"item_id": "milk", "num_in_stock": 5})
    assert warnings() == ["items.csv tells the stock of 1 of the 3 items of gold.item_vocabulary"]
    told = [{"item_id": item, "num_in_stock": 9, "brand": "a" if item == "tea" else None} for item in items]
    put(lake, t.ITEM_FACTS, *told)
    assert warnings() == ["items.csv tells the brand of 1 of the 3 items of gold.item_vocabulary"]
    put(lake, t.ITEM_FACTS, {"item_id": "7", "num_in_stock": 0}, {"item_id": "milk", "num_in_stock": 5})
    put(lake, t.CONTACT_PERMISSIONS, agreed | {"customer_id": "A"})
    with pytest.raises(SettingsError, match=r"agreed\.csv names no customer of the log"):
        check_facts(lake)
    put(lake, t.CONTACT_PERMISSIONS, agreed | {"channel": "email"})
    assert warnings()[1:] == ["agreed.csv names nobody's permission for sms"]
    put(lake, t.CONTACT_PERMISSIONS, agreed)
    lake.replace(lake.read(t.CONTACT_PERMISSIONS).limit(0), into=t.CONTACT_PERMISSIONS)
    monkeypatch.setattr(facts, "check_made", lambda *_: None)
    assert warnings()[1:] == ["agreed.csv has no row"]


def test_rules_that_look_at_nothing_are_named(new_lake, caplog):
    surfaces = {"home": {"hidden_categories": ["fuel", "FUEL"], "max_impressions": 3}}
    lake = new_lake(surfaces={**surfaces, "email": {"max_per_category": None}, "product_page": {"min_new": 0}})
    put(lake, t.ITEM_FEATURES, {"item_id": "petrol", "category": "fuel"})
    put(lake, t.PAIR_FEATURES, {"customer_id": "a", "item_id": "petrol", "num_impressions_30d": 0})
    check_facts(lake)
    named = [record.getMessage().split(",")[0] for record in caplog.records if record.name == facts.__name__]
    assert named == [
        "hidden_categories has 'FUEL'",
        "max_impressions removes nothing: the log has no impression event of the last 30 days",
    ]


def test_items_that_no_list_shows_are_on_no_page_either(new_lake):
    lake = new_lake(shop_facts={"items": "items.csv"})
    items = ("bread", "milk", "tea", "unknown")
    put(lake, t.ITEM_VOCABULARY, *({"item_id": item, "item_index": n} for n, item in enumerate(items, 1)))
    with pytest.raises(SettingsError, match=r"silver.item_facts has no row as of 2024-03-01"):
        shown_items(lake)
    put(
        lake, t.ITEM_FACTS,
        {"item_id": "bread", "num_in_stock": 0, "is_excluded": False}, {"item_id": "milk", "is_excluded": True, "num_in_stock": 2},
        {"item_id": "tea", "num_in_stock": 1, "is_excluded": False},
    )  # fmt: skip
    assert {row.item_id for row in shown_items(lake).collect()} == {"tea", "unknown"}
