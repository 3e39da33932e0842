from datetime import date

from shop_events import at, events, sign

from clm_spark.jobs import build_funnel
from clm_spark.tables.catalog import BOT_DAYS, FUNNEL, IDENTITIES

DAY, EVE, MORNING = "2024-02-28", "2024-02-27", "2024-02-29"
PHONE, MAIL = {"device": "Phone"}, {"channel": "email"}


def act(who: str | None, clock: str, kind: str = "view", *, day: str = DAY, **more: object) -> dict[str, object]:
    return {"customer_id": who, "occurred_at": at(day, clock), "kind": kind, **more}


LOG = [
    # Two visits: the first on a phone; the second, by a mail, buys what was put into the cart in the first.
    act("ann", "09:00", attributes=PHONE),
    act("ann", "09:05", "cart"),
    act("ann", "19:00", "purchase", attributes=MAIL),
    # From the evening before: a visit that began then is not one of the day.
    act("eve", "23:50", day=EVE),
    act("eve", "00:10", "purchase"),
    # Over midnight: what as_of could not know yet does not count.
    act("max", "23:55", attributes={"device": "desktop", "channel": "ads"}),
    act("max", "00:05", "purchase", day=MORNING),
    # Became known a day later.
    act("tim", "12:00", known_at=at(MORNING, "08:00")),
    # A mail is no visit, a guest no customer.
    act("joe", "12:00", "campaign_sent"),
    act(None, "12:00", "purchase"),
    # Buys without a look; the cookie is zoe's, and its phone her first device that day.
    act("cookie", "08:00", attributes=PHONE),
    act("zoe", "12:00", "purchase", attributes={"device": "desktop"}),
    act("bot", "12:00"),
]
EXPECTED = {  # unit, channel, device: visiting, viewing, carting, buying, buying at all
    ("visit", "unknown", "phone"): (2, 2, 1, 0, 0),  # ann's first, the cookie's
    ("visit", "email", "unknown"): (1, 0, 0, 0, 1),
    ("visit", "ads", "desktop"): (1, 1, 0, 0, 0),
    ("visit", "unknown", "desktop"): (1, 0, 0, 0, 1),
    ("customer", "email", "phone"): (1, 1, 1, 1, 1),
    ("customer", "ads", "desktop"): (1, 1, 0, 0, 0),
    ("customer", "unknown", "phone"): (1, 1, 0, 0, 1),
}


def test_the_funnel_of_a_day(new_lake):
    lake = new_lake(as_of=date.fromisoformat(MORNING))
    sign(lake, "b1", events(lake.spark, *LOG))
    identity = ("cookie", date.fromisoformat(EVE), "zoe", 2, False)
    lake.replace(lake.spark.createDataFrame([identity], IDENTITIES.schema), into=IDENTITIES)
    flags = [
        ("bot", date.fromisoformat(DAY), "rate_per_day", 9, date.fromisoformat(DAY)),
        ("ann", date.fromisoformat(DAY), "rate_per_day", 9, date.fromisoformat(MORNING)),  # nobody knew by then
    ]
    lake.replace(lake.spark.createDataFrame(flags, BOT_DAYS.schema), into=BOT_DAYS)
    build_funnel.run(lake, lake.settings)
    rows = lake.read_as_of(FUNNEL).collect()
    assert {(row.unit, row.channel, row.device): tuple(row)[4:] for row in rows} == EXPECTED
    assert {row.as_of for row in rows} == {date.fromisoformat(MORNING)}


def test_a_day_without_visits_has_no_row(new_lake):
    lake = new_lake(as_of=date(2024, 3, 5))
    sign(lake, "b1", events(lake.spark, act("ann", "09:00")))
    build_funnel.run(lake, lake.settings)
    assert lake.read_as_of(FUNNEL).isEmpty()
