import math
from datetime import timedelta

import pandas as pd
import pytest
from pyspark.sql import functions as F
from shop_events import at, events, on

from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customers import customer_features

HALF_HOUR = timedelta(minutes=30)


def buy(who, day, cents, **more):
    return {"customer_id": who, "kind": "purchase", "item_id": "pan", "occurred_at": at(day), "amount_cents": cents, **more}  # fmt: skip


def features_at(spark, *cases, days):
    partials = customer_days_from_events(events(spark, *cases), max_gap=HALF_HOUR)
    rows = customer_features(partials, days=[on(day) for day in days]).collect()
    return {(row.customer_id, str(row.as_of)): row for row in rows}


def test_a_late_event_makes_a_new_version_of_its_day(spark):
    cases = [
        buy("a", "2024-02-01", 1000, quantity=2, discount_cents=200, order_id="o1"),
        buy("a", "2024-02-01", 500, order_id="o1"),
        buy("a", "2024-02-01", 700, order_id="o2", known_at=at("2024-02-10")),
        {"customer_id": "a", "kind": "refund", "item_id": "pan", "occurred_at": at("2024-02-01"), "amount_cents": 300, "known_at": at("2024-02-12")},
    ]  # fmt: skip
    partials = customer_days_from_events(events(spark, *cases), max_gap=HALF_HOUR)
    got = [
        (str(r.day_on), str(r.known_on), r.num_events, r.num_visits, r.num_orders, r.num_lines, r.num_units, r.revenue_cents, r.refund_cents, r.discount_cents)
        for r in partials.orderBy("known_on").collect()
    ]  # fmt: skip
    assert got == [
        ("2024-02-01", "2024-02-01", 2, 1, 1, 2, 2, 1500, 0, 200),
        ("2024-02-01", "2024-02-10", 3, 1, 2, 3, 2, 2200, 0, 200),
        ("2024-02-01", "2024-02-12", 4, 1, 2, 3, 2, 2200, 300, 200),
    ]


def test_an_as_of_sees_what_had_happened_and_was_known(spark):
    history = [buy("a", "2024-01-05", 1000), buy("a", "2024-01-15", 1000), buy("b", "2024-01-31", 900)]
    days = ["2024-01-05", "2024-01-06", "2024-02-01", "2024-02-10", "2024-02-11"]
    before = features_at(spark, *history, days=days)
    assert ("a", "2024-01-05") not in before, "as_of itself is the future"
    assert ("b", "2024-02-01") in before

    planted = [
        buy("a", "2024-02-10", 99_999),  # later than most days
        buy("a", "2024-01-20", 7_777, known_at=at("2024-02-10")),  # known late
        {**buy("b", "2024-01-31", 100), "kind": "refund", "known_at": at("2024-02-10")},
    ]
    after = features_at(spark, *history, *planted, days=days)
    for key, row in before.items():
        if key[1] != "2024-02-11":
            assert after[key] == row, f"{key} moved by what was not known"
    assert after["a", "2024-02-11"].net_revenue_cents == 1000 + 1000 + 99_999 + 7_777
    assert after["a", "2024-02-11"].purchase_recency_days == 1
    assert after["b", "2024-02-11"].net_revenue_cents == 800


def test_the_ids_of_a_person_add_up_once_they_are_linked(spark):
    history = [
        buy("login", "2024-01-05", 1000, order_id="1"), buy("login", "2024-01-20", 500, order_id="2"),
        {"customer_id": "phone", "occurred_at": at("2024-01-20"), "item_id": "pan"},
        {"customer_id": "phone", "occurred_at": at("2024-01-30"), "item_id": "pan"},
        buy("other", "2024-01-20", 700),
    ]  # fmt: skip
    days = [on("2024-01-25"), on("2024-02-10")]
    partials = customer_days_from_events(events(spark, *history), max_gap=HALF_HOUR)
    linked = spark.createDataFrame([("phone", days[1], "login")], "id string, as_of date, person_id string")
    apart, together = (
        {(r.customer_id, r.as_of): r for r in customer_features(partials, days=days, persons=persons).collect()}
        for persons in (None, linked)
    )
    assert set(apart) - set(together) == {("phone", days[1])}
    for key, row in together.items():
        if key != ("login", days[1]):
            assert row == apart[key], f"{key} moved"
    person = together["login", days[1]]
    assert (person.num_active_days_90d, person.num_views_90d, person.num_orders, person.recency_days) == (3, 2, 2, 11)
    assert (person.num_purchase_days, person.purchase_recency_days, person.net_revenue_cents) == (2, 21, 1500)


def test_windows_and_ratios(spark):
    row = features_at(
        spark,
        buy("a", "2024-01-01", 3000, order_id="1"),  # 60 days before as_of
        buy("a", "2024-01-31", 1000, order_id="2", discount_cents=1000),  # 30 days before
        buy("a", "2024-02-23", 500, order_id="3"),  # 7 days before
        {"customer_id": "a", "occurred_at": at("2024-02-29"), "item_id": "pan"},
        days=["2024-03-01"],
    )["a", "2024-03-01"]
    assert (row.tenure_days, row.recency_days, row.purchase_recency_days) == (60, 1, 7)
    assert (row.num_orders_7d, row.num_orders_30d, row.num_orders_90d, row.num_orders) == (1, 2, 3, 3)
    assert (row.net_revenue_7d_cents, row.net_revenue_30d_cents, row.net_revenue_90d_cents) == (500, 1500, 4500)
    assert row.discount_30d_share == 0.4
    assert row.mean_order_cents == 1500
    assert math.isclose(row.mean_gap_days, 53 / 2)
    assert math.isclose(row.overdue_ratio, 7 / 26.5)
    assert row.orders_trend == (2 + 1) / (1 + 1)


@pytest.mark.parametrize("window", [7, 30, 90])
def test_windows_equal_an_independent_count(spark, small_shop, window):
    from clm_spark.tables.catalog import CUSTOMER_FEATURES, EVENTS

    lake = small_shop.lake
    log = lake.read(EVENTS).select("customer_id", "kind", "occurred_at", "amount_cents").toPandas()
    as_of = pd.Timestamp(lake.settings.as_of)
    age = (as_of - log.occurred_at.dt.normalize()).dt.days
    recent = log[(age >= 1) & (age <= window)]
    views = recent[recent.kind == "view"].groupby("customer_id").size()
    revenue = recent[recent.kind == "purchase"].groupby("customer_id").amount_cents.sum()
    got = lake.read_as_of(CUSTOMER_FEATURES).select(
        "customer_id", F.col(f"num_views_{window}d").alias("views"), F.col(f"net_revenue_{window}d_cents").alias("revenue")
    ).toPandas().set_index("customer_id")  # fmt: skip
    assert got.views.sum() > 0
    assert (got.views == views.reindex(got.index).fillna(0)).all()
    assert (got.revenue == revenue.reindex(got.index).fillna(0)).all()


def test_a_visit_or_an_order_over_midnight_counts_once_on_its_first_day(spark):
    first, second = "2024-02-01", "2024-02-02"

    def act(who, day, clock, kind="view", **more):
        return {"customer_id": who, "occurred_at": at(day, clock), "kind": kind, "item_id": "pan", **more}

    cases = [
        # Looked before midnight, put it into the cart and bought after it: one visit of forty minutes.
        act("late", first, "23:50"), act("late", second, "00:10", "cart"),
        act("late", second, "00:30", "purchase", amount_cents=900),
        act("late", second, "12:00"),
        # The lines of one basket.
        act("order", first, "23:59", "purchase", amount_cents=700, order_id="o1"),
        act("order", second, "00:00", "purchase", amount_cents=400, order_id="o1"),
        act("order", second, "00:01", "purchase", amount_cents=100, order_id="o2"),
        # Forty minutes apart: two visits of one event.
        act("two", first, "23:40"), act("two", second, "00:20"),
        # What came after midnight is known five days later.
        act("slow", first, "23:50"), act("slow", second, "00:10", "purchase", amount_cents=300, known_at=at("2024-02-07")),
        # Mails make no visit, and bridge none.
        act("mail", first, "23:40"), act("mail", first, "23:59", "campaign_sent"), act("mail", second, "00:15"),
    ]  # fmt: skip
    days = [second, "2024-02-03", "2024-02-08"]
    by = features_at(spark, *cases, days=days)
    got = {
        (who, day): (
            row.num_visits, row.num_visits_1d, row.visit_30d_seconds, row.num_bounces_30d, row.num_buying_visits_30d,
            row.num_abandoned_visits_30d, row.num_orders, row.net_revenue_cents,
        )
        for (who, day), row in by.items()
    }  # fmt: skip
    assert got == {
        ("late", second): (1, 1, 0, 1, 0, 0, 0, 0),
        ("late", "2024-02-03"): (2, 1, 2400, 1, 1, 0, 1, 900),
        ("late", "2024-02-08"): (2, 0, 2400, 1, 1, 0, 1, 900),
        ("order", second): (1, 1, 0, 1, 1, 0, 1, 700),
        ("order", "2024-02-03"): (1, 0, 120, 0, 1, 0, 2, 1200),
        ("order", "2024-02-08"): (1, 0, 120, 0, 1, 0, 2, 1200),
        ("two", second): (1, 1, 0, 1, 0, 0, 0, 0),
        ("two", "2024-02-03"): (2, 1, 0, 2, 0, 0, 0, 0),
        ("two", "2024-02-08"): (2, 0, 0, 2, 0, 0, 0, 0),
        ("slow", second): (1, 1, 0, 1, 0, 0, 0, 0),
        ("slow", "2024-02-03"): (1, 0, 0, 1, 0, 0, 0, 0),
        ("slow", "2024-02-08"): (1, 0, 1200, 0, 1, 0, 1, 300),
        ("mail", second): (1, 1, 0, 1, 0, 0, 0, 0),
        ("mail", "2024-02-03"): (2, 1, 0, 2, 0, 0, 0, 0),
        ("mail", "2024-02-08"): (2, 0, 0, 2, 0, 0, 0, 0),
    }
