from datetime import timedelta

from chispa import assert_column_equality
from pyspark.sql import functions as F
from shop_events import at, events

from clm_spark.events.sessions import sessions_from_events, with_session_id

HALF_HOUR = timedelta(minutes=30)
DAY = "2024-02-28"


def test_visits_are_cut_at_silence(spark):
    cases = [  # each customer is one case: event, clock, kind, the visit it must land in
        ("30 min stays", "a1", "09:00", "view", "a1"),
        ("30 min stays", "a2", "09:30", "view", "a1"),
        ("31 is anew", "b1", "09:00", "view", "b1"),
        ("31 is anew", "b2", "09:31", "view", "b2"),
        ("31 is anew", "b3", "09:40", "cart", "b2"),
        ("tie goes by id", "c2", "09:00", "view", "c1"),
        ("tie goes by id", "c1", "09:00", "view", "c1"),
        ("a mail is no visit", "d1", "09:00", "view", "d1"),
        ("a mail is no visit", "d2", "09:20", "campaign_sent", None),
        ("a mail is no visit", "d3", "09:40", "view", "d3"),
        ("midnight is no border", "e1", "23:50", "view", "e1"),
    ]
    rows = [
        {"customer_id": who, "event_id": event, "occurred_at": at(DAY, clock), "kind": kind, "category": expected}
        for who, event, clock, kind, expected in cases
    ]
    rows.append({"customer_id": "midnight is no border", "event_id": "e2", "occurred_at": at("2024-02-29", "00:10"), "category": "e1"})  # fmt: skip
    labelled = with_session_id(events(spark, *rows), max_gap=HALF_HOUR)
    assert_column_equality(labelled, "session_id", "category")

    within_days = with_session_id(
        events(spark, *rows).withColumn("day_on", F.to_date("occurred_at")), max_gap=HALF_HOUR, within=("day_on",)
    )
    assert within_days.where("event_id = 'e2'").head()["session_id"] == "e2"


def test_a_visit_adds_up(spark):
    one = {"customer_id": "a"}
    visit = events(
        spark,
        one | {"event_id": "x", "occurred_at": at(DAY, "09:00"), "item_id": "pan"},
        one | {"event_id": "y", "occurred_at": at(DAY, "09:01"), "kind": "cart", "item_id": "pan"},
        one | {"event_id": "z", "occurred_at": at(DAY, "09:02"), "kind": "purchase", "item_id": "pan", "amount_cents": 1250},
        one | {"event_id": "r", "occurred_at": at(DAY, "09:03"), "kind": "refund", "item_id": "pan", "amount_cents": 250},
    )  # fmt: skip
    row = sessions_from_events(with_session_id(visit, max_gap=HALF_HOUR)).head()
    counted = (row.session_id, row.num_events, row.num_views, row.num_carts, row.num_purchases, row.revenue_cents)
    assert counted == ("x", 4, 1, 1, 1, 1250)
    assert row.duration_seconds == 180
