import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from pyspark.sql import functions as F
from shop_events import at, events

from clm_spark.events.visits.sessions import sessions_from_events

HALF_HOUR = timedelta(minutes=30)
DAY = "2024-02-28"


def cut(spark, cases, *, max_gap=HALF_HOUR):
    """Visits as (customer, start, end, number of events), times in microseconds."""
    visits = sessions_from_events(events(spark, *cases), max_gap=max_gap)
    times = (F.unix_micros(name).alias(name) for name in ("started_at", "ended_at"))
    return sorted(map(tuple, visits.select("customer_id", *times, "num_events").collect()))


def us(time: datetime) -> int:
    return round((time - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def test_visits_end_with_a_silence(spark):
    cases = [  # each customer is one case: clocks and kinds, and the visits they make
        ("30 min stays", ["09:00", "09:30"], [("09:00", "09:30", 2)]),
        ("31 is anew", ["09:00", "09:31", "09:40"], [("09:00", "09:00", 1), ("09:31", "09:40", 2)]),
        ("at once", ["09:00", "09:00"], [("09:00", "09:00", 2)]),
        ("a mail is no visit", ["09:00", "mail 09:20", "09:40"], [("09:00", "09:00", 1), ("09:40", "09:40", 1)]),
        ("midnight is no border", ["23:50", "+00:10"], [("23:50", "+00:10", 2)]),
        ("a chain", ["09:00", "09:29", "09:58", "10:27"], [("09:00", "10:27", 4)]),
    ]

    def time(clock: str) -> datetime:
        clock = clock.removeprefix("mail ")
        return at("2024-02-29", clock[1:]) if clock.startswith("+") else at(DAY, clock)

    rows = [
        {
            "customer_id": who,
            "occurred_at": time(clock),
            "kind": "campaign_sent" if clock.startswith("mail") else "view",
        }
        for who, clocks, _ in cases
        for clock in clocks
    ]
    expected = [(who, time(first), time(last), n) for who, _, visits in cases for first, last, n in visits]
    assert cut(spark, rows) == sorted((who, us(first), us(last), n) for who, first, last, n in expected)


@pytest.mark.parametrize("minutes", [1, 7, 30, 45, 1441])
def test_slots_give_the_visits_of_a_walk_through_the_events(spark, minutes):
    drawn, gap = random.Random(minutes), timedelta(minutes=minutes)
    start, rows, walked = datetime(2024, 2, 27, 12, tzinfo=UTC), [], []
    for customer in range(30):
        times = [start]
        for _ in range(40):
            # Gaps about as long as the limit, and now and then exactly it, or a microsecond more.
            near = drawn.choice([gap, gap + timedelta(microseconds=1), gap * drawn.random(), gap * 3 * drawn.random()])
            times.append(times[-1] + near)
        visits = [[times[0]]]
        for before, time in pairwise(times):
            visits[-1].append(time) if time - before <= gap else visits.append([time])
        rows += [{"customer_id": f"c{customer}", "occurred_at": time} for time in times]
        walked += [(f"c{customer}", us(visit[0]), us(visit[-1]), len(visit)) for visit in visits]
    assert cut(spark, drawn.sample(rows, len(rows)), max_gap=gap) == sorted(walked)


def test_a_visit_adds_up_and_is_named_by_customer_and_start(spark):
    one = {"customer_id": "a"}
    visit = [
        one | {"event_id": "x", "occurred_at": at(DAY, "09:00"), "item_id": "pan"},
        one | {"event_id": "y", "occurred_at": at(DAY, "09:01"), "kind": "cart", "item_id": "pan"},
        one | {"event_id": "z", "occurred_at": at(DAY, "09:02"), "kind": "purchase", "item_id": "pan", "amount_cents": 1250},
        one | {"event_id": "r", "occurred_at": at(DAY, "09:03"), "kind": "refund", "item_id": "pan", "amount_cents": 250},
    ]  # fmt: skip
    row = sessions_from_events(events(spark, *visit), max_gap=HALF_HOUR).head()
    assert (row.num_events, row.num_views, row.num_carts, row.num_purchases, row.revenue_cents) == (4, 1, 1, 1, 1250)
    assert row.duration_seconds == 180
    earlier = one | {"event_id": "w", "occurred_at": at(DAY, "08:00")}
    names = sessions_from_events(events(spark, *visit, earlier), max_gap=HALF_HOUR).select("session_id").collect()
    assert row.session_id in {name.session_id for name in names}, "an earlier visit leaves its name"


def test_ids_of_a_person_make_visits_together(spark):
    rows = [
        {"customer_id": who, "occurred_at": at(DAY, clock)} for who, clock in (("tablet", "09:00"), ("ann", "09:20"))
    ]
    persons = spark.createDataFrame([("tablet", "ann")], "id string, person_id string")
    visits = sessions_from_events(events(spark, *rows), persons, max_gap=HALF_HOUR).collect()
    assert [(v.customer_id, v.num_events) for v in visits] == [("ann", 2)]
