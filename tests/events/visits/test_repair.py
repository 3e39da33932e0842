"""Visits repaired batch by batch equal those of the whole log, by the persons and without the bots known then."""

import random
from datetime import date, timedelta

import pytest
from pyspark.sql import DataFrame
from shop_events import at, events, on, sign

from clm_spark.events.visits.repair import build_sessions
from clm_spark.events.visits.sessions import sessions_from_events
from clm_spark.tables.catalog import BOT_DAYS, EVENTS, IDENTITIES, SESSIONS
from clm_spark.tables.lake import Lake

HALF_HOUR = timedelta(minutes=30)


def repaired(lake: Lake) -> list[tuple[object, ...]]:
    return sorted(map(tuple, lake.read(SESSIONS).select(SESSIONS.schema.names).collect()))


def cut_at_once(lake: Lake, log: DataFrame) -> list[tuple[object, ...]]:
    whole = sessions_from_events(log, max_gap=HALF_HOUR)
    return sorted(map(tuple, whole.select(SESSIONS.schema.names).collect()))


def num_written(lake: Lake) -> int:
    """Visits in the last write of silver.sessions."""
    return next(write.num_rows for write in reversed(lake.written) if write.table == SESSIONS.title)


def event(number: int, who: str, when, batch: str, kind: str = "view") -> dict[str, object]:
    return {"event_id": f"e{number:04d}", "customer_id": who, "occurred_at": when, "kind": kind, "batch_id": batch}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_late_events_repair_the_visits_they_reach(new_lake):
    lake, drawn = new_lake(), random.Random(7)
    start, minute = at("2024-02-26", "22:00"), timedelta(minutes=1)
    bridges = {  # who: minutes of the first batch, then of the late ones
        "bridged": ((0, 50), (25,), ()),
        "a chain bridges": ((0, 100), (25, 50, 75), ()),
        "before the first": ((60,), (40,), (20,)),
        "just too far": ((0,), (31,), ()),
        "over midnight": ((100, 140), (119, 121), (135,)),
        "days later": ((0,), (), (1440, 4000)),
        "new": ((), (5,), (6,)),
        "a mail alone": ((0,), (), ()),
    }
    batches: list[list[dict[str, object]]] = [[], [], []]
    number = 0
    for who, minutes in bridges.items():
        for batch, came in enumerate(minutes):
            for after in came:
                number += 1
                batches[batch].append(event(number, who, start + after * minute, f"b{batch}"))
    batches[1].append(event(number + 1, "a mail alone", start + 10 * minute, "b1", "campaign_sent"))
    for _ in range(300):
        number += 1
        batch = drawn.randrange(3)
        when = start + drawn.randrange(3000) * minute
        batches[batch].append(event(number + 1, f"drawn{drawn.randrange(12)}", when, f"b{batch}"))

    for batch, rows in enumerate(batches):
        sign(lake, f"b{batch}", events(lake.spark, *rows))
        build_sessions(lake, lake.settings)
        assert repaired(lake) == cut_at_once(lake, lake.read(EVENTS)), f"after batch {batch}"

    visits = {who: sum(1 for row in repaired(lake) if row[1] == who) for who in bridges}
    assert visits == {
        "bridged": 1, "a chain bridges": 1, "before the first": 1, "just too far": 2, "over midnight": 1,
        "days later": 3, "new": 1, "a mail alone": 1,
    }  # fmt: skip
    version = lake.version(SESSIONS)
    build_sessions(lake, lake.settings)
    assert lake.version(SESSIONS) == version, "nothing came, nothing is written"

    # Only the days that a late event reaches are replaced.
    before = {row["session_id"]: row["started_on"] for row in lake.read(SESSIONS).collect()}
    sign(lake, "b3", events(lake.spark, event(9999, "bridged", start + 30 * minute, "b3")))
    build_sessions(lake, lake.settings)
    assert num_written(lake) == sum(1 for day in before.values() if day == start.date())


def know(lake: Lake, *, persons: dict[str, str], bots: dict[str, date]) -> None:
    """Who is whom, and who was a bot on which day, in place of what was known."""
    rows = [(who, on("2024-02-27"), person, 2, False) for who, person in persons.items()]
    lake.replace(lake.spark.createDataFrame(rows, IDENTITIES.schema), into=IDENTITIES)
    flags = [(who, day, "rate_per_day", 9000, day) for who, day in bots.items()]
    lake.replace(lake.spark.createDataFrame(flags, BOT_DAYS.schema), into=BOT_DAYS)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_persons_and_bots_found_later_repair_the_visits_they_concern(new_lake):
    lake = new_lake()
    monday, tuesday, minute = at("2024-02-26", "23:00"), at("2024-02-27"), timedelta(minutes=1)
    minutes = {
        "ann": (0, 20, 80, 100), "tablet": (10, 50, 61), "phone": (75, 200, 3000), "bob": (0, 40, 70, 300), "eve": (5,)
    }  # fmt: skip
    cases = [(who, monday + after * minute) for who, afters in minutes.items() for after in afters]
    # A month that nothing concerns.
    cases += [("eve", at("2024-01-05") + day * timedelta(days=1)) for day in range(30)]
    log = [event(number, who, when, "b0") for number, (who, when) in enumerate(cases)]
    sign(lake, "b0", events(lake.spark, *log))
    build_sessions(lake, lake.settings)
    assert num_written(lake) == len(repaired(lake)) == 41

    late = [event(900, "phone", monday + 150 * minute, "b1"), event(901, "bob", tuesday, "b1")]
    steps = (
        ({"tablet": "ann"}, {}, []),
        ({"tablet": "ann"}, {"bob": on("2024-02-27")}, []),
        ({"phone": "ann"}, {"ann": on("2024-02-26")}, late),  # the tablet is somebody's own again, and bob no bot
        ({"phone": "tablet", "tablet": "tablet"}, {}, []),
    )
    for persons, bots, came in steps:
        know(lake, persons=persons, bots=bots)
        if came:
            sign(lake, "b1", events(lake.spark, *came))
            log += came
        build_sessions(lake, lake.settings)
        named = [
            {**event, "customer_id": persons.get(event["customer_id"], event["customer_id"])}
            for event in log
            if bots.get(event["customer_id"]) != event["occurred_at"].date()
        ]
        assert repaired(lake) == cut_at_once(lake, events(lake.spark, *named)), (persons, bots)
        assert num_written(lake) < 20, "the month before stays as it is"
    version = lake.version(SESSIONS)
    build_sessions(lake, lake.settings)
    assert lake.version(SESSIONS) == version, "no new events, nothing is written"
