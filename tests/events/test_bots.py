from dataclasses import replace
from datetime import timedelta

import pytest
from pyspark.sql import functions as F
from shop_events import at, events, on, signed_batches

from clm_spark.events.bots import bot_days_from_events, bot_days_to_leave_out, drop_bot_days, with_flagged_on
from clm_spark.events.ledger import is_on_days, mark_processed, unprocessed_batches
from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customer_item_days import customer_item_days_from_events
from clm_spark.features.customers import customer_features
from clm_spark.features.interactions import interactions
from clm_spark.features.sequences import item_sequences
from clm_spark.jobs import build_sessions, flag_bots
from clm_spark.settings import BotSettings
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

DAY, LATER = "2024-02-10", "2024-02-13"
RULES = BotSettings(max_per_minute=5, max_per_day=20, carts_without_view=3)
OFF = BotSettings(max_per_minute=None, max_per_day=None, carts_without_view=None, user_agents=None)
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1)"


def acts(who, *clocks, kind="view", day=DAY, known_on=None, agent=None, source="web"):
    """An act of the customer at each clock, known at once unless a later day is named."""
    for clock in clocks:
        event = {"customer_id": who, "kind": kind, "item_id": "pan", "occurred_at": at(day, clock), "source": source}
        if known_on:
            event["known_at"] = at(known_on)
        if agent:
            event["attributes"] = {"user_agent": agent}
        yield event


def clocks(num, *, every_minutes):
    return [f"{n * every_minutes // 60:02}:{n * every_minutes % 60:02}" for n in range(num)]


NOON = ["12:00"]
CASES = [  # customer, what was done, the rules that it breaks: figure and day on which that was known
    ("five a minute", [*acts("", *NOON * 5)], {}),
    ("six a minute", [*acts("", *NOON * 6)], {"rate_per_minute": (6, DAY)}),
    ("six in two minutes", [*acts("", *NOON * 3, *["12:01"] * 3)], {}),
    ("kinds add up", [*acts("", *NOON * 2), *acts("", *NOON * 2, kind="search"), *acts("", *NOON, kind="click"), *acts("", *NOON, kind="cart")], {"rate_per_minute": (6, DAY)}),
    ("the sixth came late", [*acts("", *NOON * 5), *acts("", *NOON, known_on=LATER)], {"rate_per_minute": (6, LATER)}),
    ("more came late", [*acts("", *NOON * 6), *acts("", *NOON * 9, known_on=LATER)], {"rate_per_minute": (6, DAY)}),
    ("a basket of 300 lines", [*acts("", *NOON * 300, kind="purchase"), *acts("", *NOON * 300, kind="coupon_redeemed")], {}),
    ("a page of impressions", [*acts("", *NOON * 30, kind="impression")], {}),
    ("twenty a day", [*acts("", *clocks(20, every_minutes=10))], {}),
    ("twenty-one a day", [*acts("", *clocks(21, every_minutes=10))], {"rate_per_day": (21, DAY)}),
    ("twenty-one by midnight", [*acts("", *clocks(11, every_minutes=10)), *acts("", *clocks(10, every_minutes=10), day=LATER)], {}),
    ("two carts", [*acts("", "12:00", "12:01", kind="cart")], {}),
    ("three carts", [*acts("", "12:00", "12:01", "12:02", kind="cart")], {"carts_without_view": (3, DAY)}),
    ("three carts and a view", [*acts("", "12:00", "12:01", "12:02", kind="cart"), *acts("", "13:00")], {}),
    ("a view of the day before", [*acts("", "12:00", "12:01", "12:02", kind="cart"), *acts("", "13:00", day="2024-02-09")], {"carts_without_view": (3, DAY)}),
    ("a view known too late", [*acts("", "12:00", "12:01", "12:02", kind="cart"), *acts("", "13:00", known_on=LATER)], {"carts_without_view": (3, DAY)}),
    ("a till has no views", [*acts("", "12:00", "12:01", "12:02", kind="cart", source="till")], {}),
    ("views in a later file", [*acts("", "12:00", "12:01", "12:02", kind="cart", source="files"), *acts("", "13:00", source="files", known_on=LATER)], {}),
    ("no view in it either", [*acts("", "12:00", "12:01", "12:02", kind="cart", source="files")], {"carts_without_view": (3, LATER)}),
    ("nine in an hour of a clock without minutes", [*acts("", *["20:00"] * 9, source="hourly"), *acts("", *["21:00"] * 9, source="hourly")], {}),
    ("by that clock in Kolkata", [*acts("", *["20:30"] * 9, source="kolkata"), *acts("", *["21:30"] * 9, source="kolkata")], {}),
    ("a clock of five minutes", [*acts("", *["20:05"] * 9, source="fives"), *acts("", *["20:10"] * 9, source="fives")], {}),
    ("too many a day by that clock", [*acts("", *["20:00"] * 21, source="hourly")], {"rate_per_day": (21, DAY)}),
    ("minutes in a later file", [*acts("", *NOON * 6, source="late"), *acts("", "13:07", source="late", known_on=LATER)], {"rate_per_minute": (6, LATER)}),
    ("a clock of minutes", [*acts("", *["20:01"] * 6, source="minutes")], {"rate_per_minute": (6, DAY)}),
    ("a crawler", [*acts("", "12:00", agent=BOT), *acts("", "12:01")], {"user_agent": (1, DAY)}),
    ("a machine that buys", [*acts("", "12:00", kind="purchase", agent="HeadlessChrome/120")], {"user_agent": (1, DAY)}),
    ("a telephone", [*acts("", "12:00", agent="Mozilla/5.0 (Linux; Android 13; CUBOT P80)")], {}),
    ("every rule at once", [*acts("", *NOON * 21, kind="cart", agent=BOT)], {"rate_per_minute": (21, DAY), "rate_per_day": (21, DAY), "carts_without_view": (21, DAY), "user_agent": (21, DAY)}),
]  # fmt: skip


def test_every_rule_is_found_on_the_day_it_could_be_known(spark):
    log = events(spark, *({**event, "customer_id": case} for case, done, _ in CASES for event in done))
    found = bot_days_from_events(log, rules=RULES)
    assert found.columns == t.BOT_DAYS.schema.names
    rows = found.collect()
    assert len(rows) == len({(row.customer_id, row.day_on, row.rule) for row in rows})
    came = {case: {} for case, *_ in CASES}
    for row in rows:
        assert str(row.day_on) == DAY
        came[row.customer_id][row.rule] = (row.figure, str(row.known_on))
    assert came == {case: expected for case, _, expected in CASES}
    assert bot_days_from_events(log, rules=OFF).isEmpty()


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ValueError, match="expected a regular expression"):
        BotSettings(user_agents="bot(")


def flags(spark, *rows):
    """Flagged days: customer, day, day on which it was known."""
    cells = [(who, on(day), "rate_per_minute", 99, on(known)) for who, day, known in rows]
    return spark.createDataFrame(cells, t.BOT_DAYS.schema)


def life(who):
    """A look, two purchases a while after, and two looks of the same day that come to be known on later days."""
    return [
        *acts(who, "12:00", day="2024-02-01"),
        *acts(who, "12:00", "12:01", kind="purchase"),
        *acts(who, "12:02", known_on="2024-02-12"),
        *acts(who, "12:03", known_on="2024-02-20"),
    ]


FLAGGED = [("known later", DAY, LATER), ("known later", DAY, "2024-02-25"), ("known at once", DAY, DAY)]
LOG = [
    *life("never flagged"),
    *life("known later"),
    *life("known at once"),
    *acts("went home", "12:00", day="2024-02-01"),
    *({**event, "item_id": "pot"} for event in acts("known later", "13:00")),
    *({**event, "item_id": "cup"} for event in acts("known at once", "13:00")),
]
EARLY, LATE = [on("2024-02-11"), on(LATER)], [on("2024-02-14"), on("2024-03-01")]


def lives(rows, *, without=()):
    """Each customer's row per morning, without what tells the customers apart."""
    names = [name for name in rows.columns if name not in {"customer_id", "as_of", *without}]
    return {(row.customer_id, row.as_of): tuple(row[name] for name in names) for row in rows.collect()}


def test_an_as_of_before_the_flag_ignores_it(spark):
    log = with_flagged_on(events(spark, *LOG), flags(spark, *FLAGGED))
    of_pans = log.where("item_id = 'pan'")
    days = customer_days_from_events(of_pans, max_gap=timedelta(minutes=30)).cache()
    kinds, mornings = ["view", "purchase"], [*EARLY, *LATE]
    items = spark.createDataFrame([("pan", day, 1) for day in mornings], "item_id string, as_of date, item_index int")
    seen = [
        lives(customer_features(days, days=mornings)),
        lives(
            interactions(
                customer_item_days_from_events(of_pans), items, days=mornings, strengths={"view": 1.0, "purchase": 5.0}
            ),
            without=["customer_index"],
        ),
        lives(item_sequences(of_pans, items, days=mornings, kinds=kinds, length=9)),
    ]
    for known in seen:
        for morning in mornings:
            people, gone = known["never flagged", morning], known["went home", morning]
            assert people != gone
            assert known["known at once", morning] == gone
            assert known["known later", morning] == (people if morning in EARLY else gone)

    versions = days.where((F.col("day_on") == on(DAY)) & F.col("customer_id").startswith("known"))
    came = sorted(
        (r.customer_id, str(r.known_on), r.num_events, r.num_visits, r.num_orders) for r in versions.collect()
    )
    assert came == [
        ("known later", DAY, 2, 1, 2),
        ("known later", "2024-02-12", 3, 1, 2),
        ("known later", LATER, 0, 0, 0),
    ]


def test_only_the_flagged_day_of_the_customer_is_left_out(spark):
    log = events(spark, *LOG)
    kept = drop_bot_days(log, flags(spark, *FLAGGED))
    assert kept.columns == log.columns
    left = sorted((r.customer_id, str(r.occurred_at.date())) for r in kept.collect())
    first = [(who, "2024-02-01") for who in ("never flagged", "known at once", "known later", "went home")]
    assert left == sorted([*first, *[("never flagged", DAY)] * 4])
    assert drop_bot_days(log, None) is log
    assert with_flagged_on(log, None) is log


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_job_searches_new_batches_and_visits_leave_bots_out(new_lake):
    lake = new_lake(bots={"max_per_minute": 5})
    minute = ["12:01"]
    first = [*acts("ann", *minute * 3), *acts("bob", *minute * 9, day="2024-02-01")]
    second = [*acts("ann", *minute * 3, known_on=LATER), *acts("eve", *minute, day=LATER)]
    log = events(lake.spark, *first, *({**event, "batch_id": "b2"} for event in second))
    lake.replace(log, into=t.EVENTS)
    ledger = signed_batches(lake.spark, {"batch_id": "b1", "num_kept": 12}, {"batch_id": "b2", "num_kept": 4})
    lake.replace(ledger, into=t.INGESTED_BATCHES)
    mark_processed(lake, replace(new_batches(lake), batches=(("b1", 12, 1),)))
    assert new_batches(lake).batches == (("b1", 12, 1), ("b2", 4, 1)), "there are no bot_days yet"
    lake.create(t.BOT_DAYS)
    assert new_batches(lake).batches == (("b2", 4, 1),)

    for written in (["silver.bot_days", "silver.worked_batches"], []):  # the second time there is nothing to search
        fresh = Lake(lake.spark, lake.settings)
        flag_bots.run(fresh, fresh.settings)
        assert [write.table for write in fresh.written] == written
    # Six with those of the batch before; bob's day, of that batch alone, is not looked at again.
    assert [(r.customer_id, str(r.day_on), r.figure) for r in lake.read(t.BOT_DAYS).collect()] == [("ann", DAY, 6)]

    build_sessions.run(lake, lake.settings)
    assert {row.customer_id for row in lake.read(t.SESSIONS).collect()} == {"bob", "eve"}
    assert bot_days_to_leave_out(with_rules(lake, leave_out=False)) is None
    assert not new_batches(with_rules(lake, leave_out=False))
    of_other_rules = new_batches(with_rules(lake, max_per_minute=8))
    assert of_other_rules.names == ["b1", "b2"], "by other rules all is searched again"
    assert of_other_rules.is_all


def new_batches(lake):
    return unprocessed_batches(lake, t.BOT_DAYS, made_with=flag_bots.made_with(lake.settings.bots, zone="UTC"))


def with_rules(lake, **rules):
    bots = lake.settings.bots.model_copy(update=rules)
    return Lake(lake.spark, lake.settings.model_copy(update={"bots": bots}))


def test_days_are_read_as_ranges(spark):
    log = events(spark, *acts("ann", "00:00", "23:59"), *(e for day in ("09", "11", "12", "13") for e in acts("ann", "00:00", day=f"2024-02-{day}")))  # fmt: skip
    kept = log.where(is_on_days("occurred_at", [on(DAY), on("2024-02-12"), on(LATER)]))
    assert sorted(str(row.occurred_at)[:10] for row in kept.collect()) == [DAY, DAY, "2024-02-12", LATER]
    assert log.where(is_on_days("occurred_at", [])).isEmpty()
