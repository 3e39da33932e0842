"""Every feature of customers, items and pairs against an implementation of its own in DuckDB, over the whole log."""

import random
from datetime import UTC, date, datetime, time, timedelta

import pytest
from conftest import real_data
from features_in_duckdb import features_sql
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ingesting import ingest
from items_in_duckdb import categories_sql, item_features_sql, pair_features_sql, tastes_sql
from oracle import compare
from pyspark.sql import DataFrame
from shop_events import events, on
from test_windows import MORNINGS, history

from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customer_item_days import customer_item_days_from_events
from clm_spark.features.customers import customer_features
from clm_spark.features.item_days import item_days_from_customers
from clm_spark.features.items import customer_categories, customer_tastes, item_features, pair_features
from clm_spark.sources.rees46 import Rees46
from clm_spark.sources.retailrocket import Retailrocket
from clm_spark.tables import catalog as t

HALF_HOUR = timedelta(minutes=30)
ITEMS = {"pan": "kitchen", "pot": "kitchen", "cup": "table", "rug": None, "jar": "pantry"}
DEVICES = ({"device": "Phone", "channel": "ads"}, {"device": "desktop", "channel": "Email"}, None, {"hit": "1"})


def check(frame: DataFrame, days: list[date], *, with_category_of_items: bool = True) -> None:
    """All tables of features as of each of the days."""
    log = frame.select(t.EVENTS.schema.names).toArrow()
    customers = customer_features(customer_days_from_events(frame, max_gap=HALF_HOUR), days=days)
    partials = customer_item_days_from_events(frame).localCheckpoint()
    items = item_features(item_days_from_customers(partials), days=days)
    pairs = pair_features(partials, days=days).localCheckpoint()
    categories = customer_categories(pairs).localCheckpoint()
    tastes = customer_tastes(categories)
    for made, sql, table in (
        (customers, features_sql, t.CUSTOMER_FEATURES),
        (items, item_features_sql, t.ITEM_FEATURES),
        (pairs, pair_features_sql, t.PAIR_FEATURES),
        (categories, categories_sql, t.CUSTOMER_CATEGORIES),
        (tastes, tastes_sql, t.CUSTOMER_TASTES),
    ):
        rows = made.collect()
        # An item that is of two categories on one day is of its busiest customer's there, and here of the last one.
        loose = {"category"} if table is t.ITEM_FEATURES and not with_category_of_items else set()
        for day in days:
            ours = [row for row in rows if row.as_of == day]
            assert ours, f"nothing of {table.title} as of {day}"
            compare(log, ours, sql("log", as_of=day), table, without=loose)


def test_drawn_histories(spark):
    drawn, names = random.Random(5), list(ITEMS)
    log = []
    for n, event in enumerate(history(random.Random(5))):
        item = drawn.choice(names[: 1 + n % len(names)]) if n % 9 else None
        named = {"item_id": item, "category": ITEMS.get(item), "attributes": DEVICES[n % 4]}
        log.append({**event, **named, "order_id": f"o{n // 3}" if n % 5 else None})
        if n % 4 == 0:  # a visit and a basket that go on after midnight
            before = event["occurred_at"].replace(hour=23, minute=45 + n % 15)
            for minutes in (0, n % 35, 20 + n % 25):
                at = before + timedelta(minutes=minutes)
                night = {"occurred_at": at, "known_at": max(at, event["known_at"]), "kind": drawn.choice(KINDS[:5])}
                log.append({**event, **named, **night, "order_id": f"night{n}"})
    check(events(spark, *log), [on("2023-09-01"), MORNINGS[-1]])


def test_a_small_shop(small_shop):
    lake = small_shop.lake
    log, as_of = lake.read(t.EVENTS).toArrow(), lake.settings.as_of
    for table, sql in (
        (t.CUSTOMER_FEATURES, features_sql),
        (t.ITEM_FEATURES, item_features_sql),
        (t.PAIR_FEATURES, pair_features_sql),
        (t.CUSTOMER_CATEGORIES, categories_sql),
        (t.CUSTOMER_TASTES, tastes_sql),
    ):
        compare(log, lake.read_as_of(table).collect(), sql("log", as_of=as_of), table)


# The ends of windows before 2024-03-01, a leap day, days on which clocks change somewhere, and any other.
DAYS = st.one_of(
    st.sampled_from([on("2024-03-01") - timedelta(days=n) for n in (2, 0, 1, 7, 8, 30, 31, 60, 90, 91, 180, 365, 366)]),
    st.sampled_from([on("2023-03-26"), on("2023-10-29"), on("2023-11-05"), on("2023-12-31"), on("2024-01-01")]),
    st.dates(on("2023-02-01"), on("2024-03-05")),
)
# Midnight and the hours that features tell apart, to the microsecond; and any other.
CLOCKS = st.one_of(
    st.sampled_from(
        [time(12), time(0), time(0, 0, 0, 1), time(5, 59, 59, 999_999), time(6), time(18), time(23, 59, 59, 999_999)]
    ),
    st.times(),
)
KINDS = (
    "view",
    "click",
    "cart",
    "purchase",
    "refund",
    "impression",
    "campaign_sent",
    "coupon_redeemed",
    "search",
    "review",
)


@st.composite
def acts(draw, who: str) -> dict[str, object]:
    """One event; what belongs to a purchase comes with any kind, and refunds come before purchases as often as after."""
    at = datetime.combine(draw(DAYS), draw(CLOCKS), UTC)
    item = draw(st.sampled_from([*ITEMS, None]))
    late = draw(st.sampled_from([0, 0, 0, 1, 30, 400]))
    return {
        "customer_id": who,
        "occurred_at": at,
        "known_at": at + timedelta(days=late),
        "kind": draw(st.sampled_from(KINDS)),
        "item_id": item,
        "category": ITEMS.get(item),
        "quantity": draw(st.sampled_from([None, 0, 1, 7])),
        "amount_cents": draw(st.sampled_from([None, 0, 1, 999_999_999])),
        "discount_cents": draw(st.sampled_from([None, 0, 50])),
        "order_id": draw(st.sampled_from([None, "o1", "o2"])),
        "attributes": draw(st.sampled_from(DEVICES)),
    }


def event(who: str, day: str, clock: str, kind: str = "purchase", **more: object) -> dict[str, object]:
    when = datetime.fromisoformat(f"{day}T{clock}+00:00")
    pan = {"item_id": "pan", "category": "kitchen", "amount_cents": 500, "quantity": 1}
    return {"customer_id": who, "occurred_at": when, "known_at": when, "kind": kind, **pan, **more}


# What must be in every log, whatever is drawn beside it.
EDGES = [
    event("midnight", "2024-02-28", "23:59:59.999999"),
    event("midnight", "2024-02-29", "00:00:00"),
    event("midnight", "2024-02-29", "00:00:00.000001", "view"),
    event("one event", "2024-02-28", "12:00:00", "search", item_id=None, category=None),
    event("refund first", "2024-02-10", "08:00:00", "refund"),
    event("refund first", "2024-02-20", "08:00:00"),
    event("leap year", "2023-02-28", "10:00:00"),
    event("leap year", "2024-02-28", "10:00:00"),
    event("leap year", "2024-02-29", "10:00:00"),
    *(
        event("clocks change", day, clock, "view")
        for day in ("2023-10-29", "2023-11-05")
        for clock in ("00:59:59", "01:00:00", "01:30:00")
    ),
    event("known late", "2024-02-27", "10:00:00", known_at=datetime(2024, 2, 28, 23, 59, 59, tzinfo=UTC)),
    event("known late", "2024-02-26", "10:00:00", known_at=datetime(2024, 2, 29, tzinfo=UTC)),
]

LOGS = st.tuples(*(st.lists(acts(f"c{n:02d}"), min_size=1, max_size=1 + n % 12) for n in range(36)))


@settings(
    max_examples=2,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # an example takes seconds: shrinking one takes an hour
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(log=LOGS)
@pytest.mark.timeout(300)
def test_histories_that_hypothesis_makes(spark, log):
    drawn = [event for of_customer in log for event in of_customer]
    check(events(spark, *EDGES, *drawn), [on("2024-02-29"), on("2024-03-01")])


@pytest.mark.long
@pytest.mark.parametrize(
    ("source", "folder", "file", "days"),
    [
        (Rees46(), "rees46_sample", "", ["2019-10-02"]),
        (Retailrocket(), "retailrocket_sample", "events_sample_5169.parquet", ["2015-07-01", "2015-10-01"]),
    ],
)
def test_real_samples(spark, source, folder, file, days):
    kept = ingest(spark, source, real_data(folder) / file).kept
    log = kept.select(*(c.name for c in t.EVENTS.columns if c.name in kept.columns))
    check(log, [on(day) for day in days], with_category_of_items=False)
