"""Visits mended batch by batch are those of the whole log cut at once."""

import random
from datetime import timedelta

import pytest
from shop_events import at, events, signed_batches

from clm_spark.events.mending import build_sessions
from clm_spark.events.sessions import sessions_from_events, with_session_id
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, SESSIONS
from clm_spark.tables.lake import Lake

HALF_HOUR = timedelta(minutes=30)


def sign(lake: Lake, batch: str, rows) -> None:
    """Events of a batch, and its line of the ledger, as ingestion leaves them."""
    version = lake.replace(rows, into=EVENTS, batch_id=batch).version
    proof = signed_batches(lake.spark, {"batch_id": batch, "events_version": version})
    lake.replace(proof, into=INGESTED_BATCHES, batch_id=batch)


def told(number: int, who: str, when, batch: str, kind: str = "view") -> dict[str, object]:
    return {"event_id": f"e{number:04d}", "customer_id": who, "occurred_at": when, "kind": kind, "batch_id": batch}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_late_events_mend_the_visits_they_reach(new_lake):
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
                batches[batch].append(told(number, who, start + after * minute, f"b{batch}"))
    batches[1].append(told(number + 1, "a mail alone", start + 10 * minute, "b1", "campaign_sent"))
    for _ in range(300):
        number += 1
        batch = drawn.randrange(3)
        when = start + drawn.randrange(3000) * minute
        batches[batch].append(told(number + 1, f"drawn{drawn.randrange(12)}", when, f"b{batch}"))

    def mended() -> list[tuple[object, ...]]:
        return sorted(map(tuple, lake.read(SESSIONS).select(SESSIONS.schema.names).collect()))

    for batch, rows in enumerate(batches):
        sign(lake, f"b{batch}", events(lake.spark, *rows))
        build_sessions(lake, lake.settings)
        whole = sessions_from_events(with_session_id(lake.read(EVENTS), max_gap=HALF_HOUR))
        assert mended() == sorted(map(tuple, whole.select(SESSIONS.schema.names).collect())), f"after batch {batch}"

    visits = {who: sum(1 for row in mended() if row[1] == who) for who in bridges}
    assert visits == {
        "bridged": 1, "a chain bridges": 1, "before the first": 1, "just too far": 2, "over midnight": 1,
        "days later": 3, "new": 1, "a mail alone": 1,
    }  # fmt: skip
    version = lake.version(SESSIONS)
    build_sessions(lake, lake.settings)
    assert lake.version(SESSIONS) == version, "nothing came, nothing is written"

    # Only the days that a late event reaches are replaced.
    before = {row["session_id"]: row["started_on"] for row in lake.read(SESSIONS).collect()}
    sign(lake, "b3", events(lake.spark, told(9999, "bridged", start + 30 * minute, "b3")))
    build_sessions(lake, lake.settings)
    written = next(write for write in reversed(lake.written) if write.table == SESSIONS.title)
    assert written.num_rows == sum(1 for day in before.values() if day == start.date())
