"""Night after night, whatever comes late: what a rebuild of everything would give, from the news and the partials alone."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest
from shop_events import at, events, on, sign

from clm_spark.events.bots import bot_days_to_leave_out, with_flagged_on
from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customers import customer_features
from clm_spark.features.upkeep import update_customer_days, update_customer_features
from clm_spark.tables.catalog import BOT_DAYS, CUSTOMER_DAYS, CUSTOMER_FEATURES, EVENTS, IDENTITIES
from clm_spark.tables.lake import Lake

FIRST = on("2024-02-01")


def told(number: int, who: str, day: date, known_on: date | None = None, **more: object) -> dict[str, object]:
    when = at(str(day), f"{9 + number % 9:02d}:00")
    known_at = at(str(known_on), "23:00") if known_on else when
    return {"event_id": f"e{number:04d}", "customer_id": who, "occurred_at": when, "known_at": known_at, **more}


def of_day(number: int) -> list[dict[str, object]]:
    """What happened on a day: everybody looks now and then, and buys now and then."""
    day = FIRST + timedelta(days=number)
    looks = [told(100 * number + who, f"c{who}", day) for who in range(6) if (number + who) % 3]
    bought = {"kind": "purchase", "item_id": "pan", "amount_cents": 500}
    return looks + [
        told(100 * number + 50 + who, f"c{who}", day, **bought) for who in range(6) if (number * who) % 4 == 1
    ]


def night(lake: Lake, morning: date, *, panel: tuple[date, ...] = ()) -> list[str]:
    """One night's run, as of `morning`; the tables it wrote."""
    settings = lake.settings.model_copy(update={"as_of": morning})
    tonight = Lake(lake.spark, settings, job="build_features")
    update_customer_days(tonight, settings)
    update_customer_features(tonight, [morning, *panel])
    return [write.table for write in tonight.written if write.table.startswith("gold")]


def rows(frame, table) -> list[tuple[object, ...]]:
    return sorted(map(tuple, frame.select(table.schema.names).collect()), key=str)


def rebuilt(lake: Lake):
    log = with_flagged_on(lake.read(EVENTS), bot_days_to_leave_out(lake))
    return customer_days_from_events(log, max_gap=timedelta(minutes=30))


def check(lake: Lake, mornings: list[date]) -> None:
    partials = rebuilt(lake)
    assert rows(lake.read(CUSTOMER_DAYS), CUSTOMER_DAYS) == rows(partials, CUSTOMER_DAYS)
    expected = rows(customer_features(partials, days=mornings), CUSTOMER_FEATURES)
    assert rows(lake.read(CUSTOMER_FEATURES), CUSTOMER_FEATURES) == expected


def hide(lake: Lake, *batches: str) -> list[Path]:
    """Put the files of these batches of silver.events where nobody finds them."""
    table = Path(lake.location(EVENTS).removeprefix("file:"))
    hidden = []
    for batch in batches:
        (table / f"batch_id={batch}").rename(table.parent / f"hidden_{batch}")
        hidden.append(table.parent / f"hidden_{batch}")
    return hidden


def bring_back(lake: Lake, hidden: list[Path]) -> None:
    table = Path(lake.location(EVENTS).removeprefix("file:"))
    for folder in hidden:
        shutil.move(folder, table / folder.name.replace("hidden_", "batch_id="))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_night_reads_the_news_and_the_partials(new_lake):
    lake = new_lake()
    start = [event for number in range(10) for event in of_day(number)]
    sign(lake, "start", events(lake.spark, *({**event, "batch_id": "start"} for event in start)))
    mornings = [FIRST + timedelta(days=10)]
    assert night(lake, mornings[0]) == [CUSTOMER_DAYS.title, CUSTOMER_FEATURES.title]

    # An ordinary night: nothing of the log is read but what has come.
    sign(lake, "b10", events(lake.spark, *({**event, "batch_id": "b10"} for event in of_day(10))))
    hidden = hide(lake, "start")
    mornings.append(FIRST + timedelta(days=11))
    night(lake, mornings[-1])
    bring_back(lake, hidden)
    check(lake, mornings)

    # Late events of two days, one of them a refund, and one that makes a purchase day of an earlier day.
    refund = {"kind": "refund", "item_id": "pan", "amount_cents": 100}
    bought = {"kind": "purchase", "item_id": "pot", "amount_cents": 900}
    yesterday = FIRST + timedelta(days=11)
    late = [
        told(9001, "c1", FIRST + timedelta(days=3), yesterday, **refund),
        told(9002, "c2", FIRST + timedelta(days=10), yesterday, **bought),
        told(9003, "new", FIRST + timedelta(days=5), yesterday),
    ]
    sign(lake, "b11", events(lake.spark, *({**event, "batch_id": "b11"} for event in [*of_day(11), *late])))
    mornings.append(FIRST + timedelta(days=12))
    night(lake, mornings[-1])
    check(lake, mornings)
    assert night(lake, mornings[-1], panel=tuple(mornings[:-1])) == [], "nothing was learned, and no past day moved"

    # A bot is found out: its days vanish from the next morning on.
    flag = [("c4", FIRST + timedelta(days=9), "rate_per_day", 9000, FIRST + timedelta(days=12))]
    lake.replace(lake.spark.createDataFrame(flag, BOT_DAYS.schema), into=BOT_DAYS)
    sign(lake, "b12", events(lake.spark, *({**event, "batch_id": "b12"} for event in of_day(12))))
    mornings.append(FIRST + timedelta(days=13))
    night(lake, mornings[-1])
    check(lake, mornings)

    # History comes in late and claims to have been known: the days that should have known it are made again.
    sign(lake, "old", events(lake.spark, told(9100, "c5", FIRST + timedelta(days=11), batch_id="old", **bought)))
    night(lake, mornings[-1], panel=tuple(mornings[:-1]))
    check(lake, mornings)
    assert [commit.values("as_of") for commit in lake.commits(CUSTOMER_FEATURES)[:2]] == [
        [str(mornings[3])],
        [str(mornings[2])],
    ], "mornings before it stay as they are"


def test_a_person_found_in_the_night_is_merged_anew(new_lake):
    lake = new_lake()
    log = [event for number in range(6) for event in of_day(number)]
    sign(lake, "start", events(lake.spark, *({**event, "batch_id": "start"} for event in log)))
    night(lake, FIRST + timedelta(days=5))
    found_on = FIRST + timedelta(days=5)
    link = [("c1", found_on, "c2", 2, False)]
    lake.replace(lake.spark.createDataFrame(link, IDENTITIES.schema), into=IDENTITIES, known_on=[found_on])
    night(lake, FIRST + timedelta(days=6))

    morning = FIRST + timedelta(days=6)
    carried = rows(lake.read_as_of(CUSTOMER_FEATURES, morning), CUSTOMER_FEATURES)
    persons = lake.spark.createDataFrame([("c1", morning, "c2")], "id string, as_of date, person_id string")
    merged = customer_features(rebuilt(lake), days=[morning], persons=persons)
    assert carried == rows(merged, CUSTOMER_FEATURES)
    assert {row[0] for row in carried} == {"c0", "c2", "c3", "c4", "c5"}
