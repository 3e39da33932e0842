"""Items, customers with items, and tastes: case by case, and in daily runs."""

import random
from datetime import timedelta

import pytest
from daily_runs import rows
from shop_events import at, events, on, sign

from clm_spark.events.bots import bot_days_to_leave_out, with_flagged_on
from clm_spark.features.customer_item_days import customer_item_days_from_events
from clm_spark.features.item_days import item_days_from_customers
from clm_spark.features.items import customer_categories, customer_tastes, item_features, pair_features
from clm_spark.jobs import build_item_features
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

ITEMS = ("pan", "pot", "cup", "rug", "jar")


def look(who, item, day, kind="view", **more):
    return {"customer_id": who, "item_id": item, "occurred_at": at(day), "kind": kind, **more}


def test_late_events_and_bot_flags_make_new_versions_of_an_items_day(spark):
    log = [
        look("a", "pan", "2024-02-01"), look("a", "pot", "2024-02-01"),
        look("b", "pan", "2024-02-01", category="toys"),
        look("a", "cup", "2024-02-01", known_at=at("2024-02-04")),
        look("c", "pan", "2024-02-01", "purchase", amount_cents=900, known_at=at("2024-02-06")),
    ]  # fmt: skip
    flags = spark.createDataFrame(
        [("b", on("2024-02-01"), on("2024-02-05"))], "customer_id string, day_on date, known_on date"
    )
    partials = customer_item_days_from_events(with_flagged_on(events(spark, *log), flags))
    got = {
        (r.item_id, str(r.known_on)[8:]): (r.num_events, r.num_views, r.num_viewer_days, r.num_co_views, r.num_lines)
        for r in item_days_from_customers(partials).collect()
    }
    assert got == {
        ("pan", "01"): (2, 2, 2, 1, 0),
        ("pan", "04"): (2, 2, 2, 2, 0),  # the cup was viewed with it: a late event
        ("pan", "05"): (1, 1, 1, 2, 0),  # b was a bot
        ("pan", "06"): (2, 1, 1, 2, 1),
        ("pot", "01"): (1, 1, 1, 1, 0),
        ("pot", "04"): (1, 1, 1, 2, 0),
        ("cup", "04"): (1, 1, 1, 2, 0),
    }
    features = item_features(item_days_from_customers(partials), days=[on("2024-02-05"), on("2024-02-07")]).collect()
    viewers = {(r.item_id, str(r.as_of)): (r.num_viewers_7d, r.num_buyers) for r in features}
    assert (viewers["pan", "2024-02-05"], viewers["pan", "2024-02-07"]) == ((2, 0), (1, 1))
    categories = {str(r.as_of): r.category for r in features if r.item_id == "pan"}
    assert categories == {"2024-02-05": "toys", "2024-02-07": None}, (
        "a category that only a bot's events name is gone with them"
    )


def test_tastes_follow_from_no_order_of_rows(spark):
    """Sums of doubles do, in their last digits: a daily run and a full refresh would differ."""
    numbers, day = random.Random(7), on("2024-03-01")
    num_counts = len(t.CUSTOMER_CATEGORIES.schema) - 3
    rows = [
        (f"c{customer}", f"k{category}", day, *(numbers.randint(1, 40) for _ in range(num_counts)))
        for customer in range(100)
        for category in range(12)
    ]
    categories = spark.createDataFrame(rows, t.CUSTOMER_CATEGORIES.schema)
    backwards = categories.orderBy("category", ascending=False).coalesce(1)
    first, second = (customer_tastes(each).orderBy("customer_id").collect() for each in (categories, backwards))
    assert first == second


def test_tastes_of_a_person_with_two_ids(spark):
    log = [
        look("login", "pan", "2024-01-05", category="kitchen"), look("phone", "pan", "2024-01-05", category="kitchen"),
        look("phone", "cup", "2024-01-06", category="table"), look("login", "jar", "2024-01-07", category="table"),
        look("login", "rug", "2024-01-08"), look("login", "urn", "2024-01-08", category="attic"),
        look("login", "pan", "2024-01-09", "purchase", category="kitchen"),
        look("phone", "pan", "2024-01-19", "purchase", category="kitchen"),
    ]  # fmt: skip
    day = on("2024-02-01")
    persons = spark.createDataFrame([("phone", day, "login")], "id string, as_of date, person_id string")
    pairs = pair_features(customer_item_days_from_events(events(spark, *log)), days=[day], persons=persons)
    (pan,) = pairs.where("item_id = 'pan'").collect()
    assert (pan.customer_id, pan.num_views, pan.num_purchase_days, pan.mean_gap_days) == ("login", 2, 2, 10.0)
    assert pan.overdue_ratio == 13 / 10
    (row,) = customer_tastes(customer_categories(pairs)).collect()
    assert (row.num_viewed_items_90d, row.num_views_90d, row.num_rebought_items) == (5, 6, 1)
    assert row.top_viewed_categories_90d == ["kitchen", "table", "attic"]
    assert row.top_viewed_category_90d_share == 2 / 5
    assert row.viewed_entropy_90d == pytest.approx(1.5219280948873621)  # of 2/5, 2/5 and 1/5
    assert (row.top_bought_categories_365d, row.bought_entropy_365d) == (["kitchen"], 0.0)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_consecutive_daily_runs_equal_a_rebuild(new_lake):
    lake = new_lake()
    spark = lake.spark

    def daily_run(morning):
        settings = lake.settings.model_copy(update={"as_of": morning})
        tonight = Lake(spark, settings, job="build_item_features")
        build_item_features.run(tonight, settings)
        return {write.table for write in tonight.written if write.table.startswith("gold")}

    def check():
        log = with_flagged_on(lake.read(t.EVENTS), bot_days_to_leave_out(lake))
        partials = customer_item_days_from_events(log).localCheckpoint()
        assert rows(lake.read(t.CUSTOMER_ITEM_DAYS), t.CUSTOMER_ITEM_DAYS) == rows(partials, t.CUSTOMER_ITEM_DAYS)
        of_items = item_days_from_customers(partials)
        assert rows(lake.read(t.ITEM_DAYS), t.ITEM_DAYS) == rows(of_items, t.ITEM_DAYS)
        days = sorted(row.as_of for row in lake.read(t.ITEM_FEATURES).select("as_of").distinct().collect())
        assert rows(lake.read(t.ITEM_FEATURES), t.ITEM_FEATURES) == rows(
            item_features(of_items, days=days), t.ITEM_FEATURES
        )
        pairs = pair_features(partials, days=days)
        assert rows(lake.read(t.PAIR_FEATURES), t.PAIR_FEATURES) == rows(pairs, t.PAIR_FEATURES)
        tastes = customer_tastes(customer_categories(pairs))
        assert rows(lake.read(t.CUSTOMER_TASTES), t.CUSTOMER_TASTES) == rows(tastes, t.CUSTOMER_TASTES)

    first, second = on("2024-03-01"), on("2024-03-02")
    start = [look(f"c{n % 4}", ITEMS[n % 5], f"2024-02-{1 + n % 29:02d}", batch_id="start") for n in range(60)]
    sign(lake, "start", events(spark, *start))
    assert daily_run(first) == {table.title for table in GOLD}
    assert daily_run(first) == set(), "no new events"

    # New events of the day, late ones of an old day, and a bot flagged.
    came = [
        look("c1", "pan", "2024-03-01", "purchase", amount_cents=100),
        look("new", "jar", "2024-02-10", known_at=at("2024-03-01", "13:00")),
        look("c2", "cup", "2024-02-20", "cart", known_at=at("2024-03-01", "13:00")),
    ]
    sign(lake, "b1", events(spark, *({**event, "event_id": f"x{n}", "batch_id": "b1"} for n, event in enumerate(came))))
    flag = [("c3", on("2024-02-04"), "rate_per_day", 9000, first)]
    lake.replace(spark.createDataFrame(flag, t.BOT_DAYS.schema), into=t.BOT_DAYS)
    daily_run(second)
    check()
    early = lake.read_as_of(t.ITEM_FEATURES, second - timedelta(days=28)).collect()
    assert {row.item_id for row in early} == {"pan", "pot", "rug", "jar"}, "whom its first two days named"


GOLD = (
    t.CUSTOMER_ITEM_DAYS,
    t.ITEM_DAYS,
    t.ITEM_FEATURES,
    t.PAIR_FEATURES,
    t.CUSTOMER_CATEGORIES,
    t.CUSTOMER_TASTES,
)
