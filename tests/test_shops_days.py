"""The shop's zone decides what a day is, in every table; events keep UTC. A change makes anew what depends on it."""

import logging

import pytest
from shop_events import at, events, on, sign

from clm_spark.job import run_job
from clm_spark.jobs import build_features, build_sessions, flag_bots, stitch_identities
from clm_spark.settings import ShopSettings
from clm_spark.stale import stale_days
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

JOBS = (stitch_identities, flag_bots, build_sessions, build_features)


def of_zone(lake: Lake, zone: str | None) -> Lake:
    shop = ShopSettings(name=lake.settings.shop.name, time_zone=zone)
    return Lake(lake.spark, lake.settings.model_copy(update={"shop": shop}))


def ran(lake: Lake) -> tuple[set, set, set, set]:
    """Run the jobs; what the tables then say of days."""
    for module in JOBS:
        run_job(lake.spark, module.__name__.rpartition(".")[2], module.run, lake.settings)
    links = {(str(row.known_on)) for row in lake.read(t.IDENTITY_LINKS).collect()}
    bots = {(row.rule, str(row.day_on)) for row in lake.read(t.BOT_DAYS).collect()}
    visits = {(str(row.started_on), row.num_events) for row in lake.read(t.SESSIONS).collect()}
    names = ("recency_days", "num_weekend_days_90d", "num_night_acts_90d", "num_orders_1d")
    features = {tuple(row[name] for name in names) for row in lake.read_as_of(t.CUSTOMER_FEATURES).collect()}
    return links, bots, visits, features


def said_of_days(caplog) -> list[str]:
    messages = [record.message.partition(":")[0] for record in caplog.records]
    return [message for message in messages if message.startswith("days of lakehouse")]


@pytest.mark.soak
def test_days_are_those_of_the_shops_zone(new_lake, caplog):
    lake = new_lake(as_of="2024-03-10", features={"panel_size": 1}, bots={"max_per_day": 3})
    friday, saturday, last = "2024-03-01", "2024-03-02", "2024-03-09"
    acts = [  # Friday evening in UTC is Saturday night in Berlin
        *({"customer_id": "ann", "occurred_at": at(friday, clock)} for clock in ("23:10", "23:30")),
        {"customer_id": "ann", "visitor_id": "phone", "occurred_at": at(friday, "23:40")},
        {"customer_id": "ann", "occurred_at": at(last, "22:59"), "kind": "purchase"},
        # Four a day in UTC, three and one in Berlin.
        *({"customer_id": "bob", "occurred_at": at(saturday, clock)} for clock in ("10:00", "15:00", "20:00", "23:30")),
    ]  # fmt: skip
    sign(lake, "b1", events(lake.spark, *acts))
    in_utc = (
        {friday},
        {("rate_per_day", saturday)},
        {(friday, 3), (last, 1)},
        {(1, 1, 0, 1)},
    )
    in_berlin = (
        {saturday},
        set(),
        {(saturday, 3), (last, 1), (saturday, 1), ("2024-03-03", 1)},
        {(1, 2, 3, 1), (7, 2, 1, 0)},
    )
    caplog.set_level(logging.WARNING, logger="clm_spark")
    assert ran(of_zone(lake, None)) == in_utc
    assert not said_of_days(caplog)
    assert ran(of_zone(lake, "Europe/Berlin")) == in_berlin
    assert said_of_days(caplog) == [
        f"days of lakehouse {lake.settings.lakehouse.path} were those of UTC and are those of Europe/Berlin from now on"
    ]
    assert of_zone(lake, None).time_zone == "Europe/Berlin"  # it is remembered
    assert lake.spark.conf.get("spark.sql.session.timeZone") == "UTC"  # what is no job keeps UTC
    assert ran(of_zone(lake, None)) == in_berlin

    assert stale_days(of_zone(lake, None)) == []
    of_utc = of_zone(lake, "UTC")
    assert [(day.as_of, [job.name for job in day.jobs]) for day in stale_days(of_utc)] == [
        (on("2024-03-10"), ["stitch_identities", "flag_bots", "build_sessions", "build_features"])
    ]
    assert ran(of_utc) == in_utc
