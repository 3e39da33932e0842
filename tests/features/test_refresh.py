"""Daily runs, with late events, give the rows of a full rebuild, and read only new events and partials."""

import random
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest
from daily_runs import FIRST, check_customers, event, of_day, rebuilt, rows
from shop_events import events, sign

from clm_spark.events.ledger import is_on_days
from clm_spark.features.customers import customer_features
from clm_spark.features.partials import update_customer_days
from clm_spark.features.refresh import update_customer_features
from clm_spark.tables.catalog import BOT_DAYS, CUSTOMER_DAYS, CUSTOMER_FEATURES, EVENTS, IDENTITIES
from clm_spark.tables.lake import Lake


def daily_run(lake: Lake, morning: date, *, panel: tuple[date, ...] = ()) -> list[str]:
    """One daily run, as of `morning`; the tables it wrote."""
    settings = lake.settings.model_copy(update={"as_of": morning})
    today = Lake(lake.spark, settings, job="build_features")
    update_customer_days(today, settings)
    update_customer_features(today, [morning, *panel])
    return [write.table for write in today.written if write.table.startswith("gold")]


def hide(lake: Lake, *batches: str) -> list[Path]:
    """Move the files of these batches of silver.events out of reach."""
    table = Path(lake.location(EVENTS).removeprefix("file:"))
    hidden = []
    for batch in batches:
        (table / f"batch_id={batch}").rename(table.parent / f"hidden_{batch}")
        hidden.append(table.parent / f"hidden_{batch}")
    return hidden


def stages(lake: Lake) -> list:
    """What Spark counted of each of its last thousand stages."""
    context = lake.spark.sparkContext
    no_quantiles = context._gateway.new_array(context._jvm.double, 0)
    nothing = context._jvm.java.util.ArrayList()
    found = context._jsc.sc().statusStore().stageList(nothing, False, False, no_quantiles, nothing)
    return [found.apply(place) for place in range(found.size())]


def bring_back(lake: Lake, hidden: list[Path]) -> None:
    table = Path(lake.location(EVENTS).removeprefix("file:"))
    for folder in hidden:
        shutil.move(folder, table / folder.name.replace("hidden_", "batch_id="))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_daily_run_reads_new_events_and_partials_alone(new_lake):
    lake = new_lake()
    heavy = random.Random(3)
    start = [
        {**event, "attributes": {"page": heavy.randbytes(50_000).hex()}}
        for number in range(8)
        for event in of_day(number)
    ]
    sign(lake, "start", events(lake.spark, *({**event, "batch_id": "start"} for event in start)))
    # A visit may go on after midnight: a day follows from the one before it, too, and that one from its own day before.
    before = [event for number in (8, 9) for event in of_day(number)]
    sign(lake, "before", events(lake.spark, *({**event, "batch_id": "before"} for event in before)))
    mornings = [FIRST + timedelta(days=10)]
    assert daily_run(lake, mornings[0]) == [CUSTOMER_DAYS.title, CUSTOMER_FEATURES.title]

    # An ordinary day: of the log only the new batch and the two days before it are read.
    sign(lake, "b10", events(lake.spark, *({**event, "batch_id": "b10"} for event in of_day(10))))
    of_the_day = lake.read(EVENTS).where(is_on_days("occurred_at", [FIRST + timedelta(days=10)]))
    assert {"b10" in file for file in of_the_day.inputFiles()} == {True}, "as planned"
    hidden = hide(lake, "start")
    log_bytes = sum(file.stat().st_size for folder in hidden for file in folder.glob("*.parquet"))
    mornings.append(FIRST + timedelta(days=11))
    last_stage = max(stage.stageId() for stage in stages(lake))
    daily_run(lake, mornings[-1])
    read = sum(stage.inputBytes() for stage in stages(lake) if stage.stageId() > last_stage)
    assert 0 < read < log_bytes / 5, "of a log that is all attributes"
    bring_back(lake, hidden)
    check_customers(lake, mornings)

    # Late events of two days, one of them a refund, and one that makes a purchase day of an earlier day.
    refund = {"kind": "refund", "item_id": "pan", "amount_cents": 100}
    bought = {"kind": "purchase", "item_id": "pot", "amount_cents": 900}
    yesterday = FIRST + timedelta(days=11)
    late = [
        event(9001, "c1", FIRST + timedelta(days=3), yesterday, **refund),
        event(9002, "c2", FIRST + timedelta(days=10), yesterday, **bought),
        event(9003, "new", FIRST + timedelta(days=5), yesterday),
    ]
    sign(lake, "b11", events(lake.spark, *({**event, "batch_id": "b11"} for event in [*of_day(11), *late])))
    mornings.append(FIRST + timedelta(days=12))
    daily_run(lake, mornings[-1])
    check_customers(lake, mornings)
    assert daily_run(lake, mornings[-1], panel=tuple(mornings[:-1])) == [], "no new events, and no past day changed"

    # A bot is flagged: its days are left out from the next morning on.
    flag = [("c4", FIRST + timedelta(days=9), "rate_per_day", 9000, FIRST + timedelta(days=12))]
    lake.replace(lake.spark.createDataFrame(flag, BOT_DAYS.schema), into=BOT_DAYS)
    sign(lake, "b12", events(lake.spark, *({**event, "batch_id": "b12"} for event in of_day(12))))
    mornings.append(FIRST + timedelta(days=13))
    daily_run(lake, mornings[-1])
    check_customers(lake, mornings)

    # A late batch whose events count as known since they happened: the days that should have seen them are recomputed.
    sign(lake, "old", events(lake.spark, event(9100, "c5", FIRST + timedelta(days=11), batch_id="old", **bought)))
    daily_run(lake, mornings[-1], panel=tuple(mornings[:-1]))
    check_customers(lake, mornings)
    assert [commit.values("as_of") for commit in lake.commits(CUSTOMER_FEATURES)[:2]] == [
        [str(mornings[3])],
        [str(mornings[2])],
    ], "mornings before it stay as they are"


@pytest.mark.long
def test_a_person_stitched_since_yesterday_is_merged_again(new_lake):
    lake = new_lake()
    log = [event for number in range(6) for event in of_day(number)]
    sign(lake, "start", events(lake.spark, *({**event, "batch_id": "start"} for event in log)))
    daily_run(lake, FIRST + timedelta(days=5))
    found_on = FIRST + timedelta(days=5)
    link = [("c1", found_on, "c2", 2, False)]
    lake.replace(lake.spark.createDataFrame(link, IDENTITIES.schema), into=IDENTITIES, known_on=[found_on])
    daily_run(lake, FIRST + timedelta(days=6))

    morning = FIRST + timedelta(days=6)
    carried = rows(lake.read_as_of(CUSTOMER_FEATURES, morning), CUSTOMER_FEATURES)
    persons = lake.spark.createDataFrame([("c1", morning, "c2")], "id string, as_of date, person_id string")
    merged = customer_features(rebuilt(lake), days=[morning], persons=persons)
    assert carried == rows(merged, CUSTOMER_FEATURES)
    assert {row[0] for row in carried} == {"c0", "c2", "c3", "c4", "c5"}
