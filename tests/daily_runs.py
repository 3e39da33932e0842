"""A shop of six customers day by day, and its partials and features rebuilt from the whole log."""

from datetime import date, timedelta

from pyspark.sql import DataFrame
from shop_events import at, on

from clm_spark.events.bots import bot_days_to_leave_out, with_flagged_on
from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customers import customer_features
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES, EVENTS
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

FIRST = on("2024-02-01")


def event(number: int, who: str, day: date, known_on: date | None = None, **more: object) -> dict[str, object]:
    when = at(str(day), f"{9 + number % 9:02d}:00")
    known_at = at(str(known_on), "23:00") if known_on else when
    return {"event_id": f"e{number:04d}", "customer_id": who, "occurred_at": when, "known_at": known_at, **more}


def of_day(number: int) -> list[dict[str, object]]:
    """What happened on a day: everybody looks now and then, buys now and then, and some stay up over midnight."""
    day = FIRST + timedelta(days=number)
    looks = [event(100 * number + who, f"c{who}", day) for who in range(6) if (number + who) % 3]
    bought = {"kind": "purchase", "item_id": "pan", "amount_cents": 500}
    buys = [event(100 * number + 50 + who, f"c{who}", day, **bought) for who in range(6) if (number * who) % 4 == 1]
    evenings = [at_night(number, who, "23:50", day, basket=number) for who in range(6) if (number + who) % 3 == 0]
    nights = [at_night(number, who, "00:10", day, basket=number - 1) for who in range(6) if (number + who) % 3 == 1]
    return looks + buys + evenings + nights


def at_night(number: int, who: int, clock: str, day: date, *, basket: int) -> dict[str, object]:
    """An act of a visit over midnight; half of the customers fill a basket in it."""
    fills = {"kind": "purchase", "item_id": "jar", "amount_cents": 300, "order_id": f"night{basket}"}
    when = at(str(day), clock)
    act = event(100 * number + (70 if clock < "12" else 80) + who, f"c{who}", day, **(fills if who < 3 else {}))
    return act | {"occurred_at": when, "known_at": when}


def rows(frame: DataFrame, table: Table) -> list[tuple[object, ...]]:
    return sorted(map(tuple, frame.select(table.schema.names).collect()), key=str)


def rebuilt(lake: Lake) -> DataFrame:
    log = with_flagged_on(lake.read(EVENTS), bot_days_to_leave_out(lake))
    return customer_days_from_events(log, max_gap=timedelta(minutes=30))


def check_customers(lake: Lake, mornings: list[date]) -> None:
    partials = rebuilt(lake)
    assert rows(lake.read(CUSTOMER_DAYS), CUSTOMER_DAYS) == rows(partials, CUSTOMER_DAYS)
    expected = rows(customer_features(partials, days=mornings), CUSTOMER_FEATURES)
    assert rows(lake.read(CUSTOMER_FEATURES), CUSTOMER_FEATURES) == expected
