"""Indices that stay, items that retire, and the room that is left."""

import random
from datetime import timedelta

import pytest
from daily_runs import rows
from shop_events import at, events, on, sign

from clm_spark.events.bots import with_flagged_on
from clm_spark.features.customer_item_days import customer_item_days_from_events
from clm_spark.features.item_days import item_days_from_customers
from clm_spark.features.partials import update_customer_item_days, update_item_days
from clm_spark.features.refresh_vocabulary import update_interactions, update_item_sequences, update_item_vocabulary
from clm_spark.features.vocabulary import item_vocabulary, next_item_indices, room_warning
from clm_spark.settings import RecommendSettings
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

KINDS = ("view", "purchase")
OF_JOB = (t.ITEM_INDICES, t.ITEM_VOCABULARY, t.INTERACTIONS, t.ITEM_SEQUENCES)


def see(who, item, day, kind="view", **more):
    return {"customer_id": who, "item_id": item, "occurred_at": at(day), "kind": kind, **more}


def item_days_of(log):
    return item_days_from_customers(customer_item_days_from_events(log))


def indices_of(spark, item_days, day, *, before=None, since=None):
    nothing = spark.createDataFrame([], t.ITEM_INDICES.schema)
    known = item_days if since is None else item_days.where(f"day_on >= '{since - timedelta(days=40)}'")
    made = next_item_indices(
        nothing if before is None else before, known, as_of=day, since=since, kinds=KINDS, min_item_events=2
    )
    return made.localCheckpoint()


def test_an_index_once_given_stays(spark):
    log = events(
        spark,
        see("a", "pot", "2024-01-03", category="old"), see(None, "pot", "2024-01-09", category="new"),
        see("b", "pot", "2024-01-04", category="old", known_at=at("2024-02-15")),
        see("a", "pan", "2024-01-02"), see("b", "pan", "2024-01-05"),
        see("a", "cup", "2024-01-05"), see("a", "cup", "2024-02-05"),
        see("a", "one", "2024-01-05"), see("a", "one", "2024-01-06", "impression"),
        see("a", "add", "2024-01-01"), see("a", "add", "2024-01-02", known_at=at("2024-02-20")),
        see("bot", "web", "2024-01-07"), see("bot", "web", "2024-01-07"),
        see("bot", "net", "2024-01-08"), see("bot", "net", "2024-01-08"),
        see("a", "pic", "2024-01-07", "impression"),
    )  # fmt: skip
    flags = [("bot", on("2024-01-07"), on("2024-02-10")), ("bot", on("2024-01-08"), on("2024-01-08"))]
    flags = spark.createDataFrame(flags, "customer_id string, day_on date, known_on date")
    item_days = item_days_of(with_flagged_on(log, flags))
    first, later = on("2024-02-01"), on("2024-03-01")
    before = indices_of(spark, item_days, first)
    carried = indices_of(spark, item_days, later, before=before, since=first)
    assert rows(carried, t.ITEM_INDICES) == rows(indices_of(spark, item_days, later), t.ITEM_INDICES)
    got = {
        (str(r.as_of)[5:], r.item_id): (r.item_index, r.num_events, r.category, str(r.last_seen_on)[5:])
        for r in before.unionByName(carried).collect()
    }
    assert got == {
        ("02-01", "pan"): (1, 2, None, "01-05"),
        ("02-01", "web"): (2, 2, None, "01-07"),
        ("02-01", "pot"): (3, 2, "new", "01-09"),
        ("02-01", "cup"): (None, 1, None, "01-05"),
        ("02-01", "one"): (None, 1, None, "01-05"),
        ("02-01", "add"): (None, 1, None, "01-01"),
        ("03-01", "pan"): (1, 2, None, "01-05"),
        ("03-01", "web"): (2, 0, None, "01-07"),  # that it was a bot turned out later: the number stays
        ("03-01", "pot"): (3, 3, "new", "01-09"),  # a late event of an old day does not bring its category back
        ("03-01", "cup"): (4, 2, None, "02-05"),
        ("03-01", "add"): (5, 2, None, "01-02"),  # frequent only once its late event was known
        ("03-01", "one"): (None, 1, None, "01-05"),
    }


@pytest.mark.long
def test_carrying_on_gives_what_a_full_refresh_gives(spark):
    drawn = random.Random(5)
    first, log = on("2024-02-01"), []
    for n in range(400):
        day = first + timedelta(days=drawn.randrange(12))
        known_on = day + timedelta(days=drawn.choice([0, 0, 0, 1, 5]))
        item = f"i{int(drawn.expovariate(0.05)):03d}"
        event = see(f"c{n % 9}", item, str(day), drawn.choice(["view", "purchase", "impression"]))
        log.append(event | {"known_at": at(str(known_on), "13:00"), "category": drawn.choice(["a", "b", None])})
    flags = [(f"c{n}", first + timedelta(days=n), first + timedelta(days=n + n % 4)) for n in range(9)]
    flags = spark.createDataFrame(flags, "customer_id string, day_on date, known_on date")
    item_days = item_days_of(with_flagged_on(events(spark, *log), flags)).localCheckpoint()
    before = since = None
    for day in (first + timedelta(days=number) for number in (4, 5, 6, 11, 14)):
        before = indices_of(spark, item_days, day, before=before, since=since)
        since = day
        whole = rows(indices_of(spark, item_days, day), t.ITEM_INDICES)
        assert rows(before, t.ITEM_INDICES) == whole
    assert len(whole) > 40
    numbers = sorted(row[2] for row in whole if row[2])
    assert numbers == [*range(1, len(numbers) + 1)]
    assert 20 < len(numbers) < len(whole)


def test_items_long_gone_make_room_and_a_full_vocabulary_says_so(spark):
    day = on("2024-03-01")
    items = [
        (
            f"i{n:02d}",
            day,
            None if n == 13 else n,
            5,
            None,
            None,
            day - timedelta(days=31 if n in (2, 3) else n % 30 + 1),
        )
        for n in range(1, 15)
    ]
    indices = spark.createDataFrame(items, t.ITEM_INDICES.schema)

    def listed(max_items, retire_after_days):
        known = item_vocabulary(indices, max_items=max_items, retire_after_days=retire_after_days)
        assert known.columns == t.ITEM_VOCABULARY.schema.names
        return sorted(row.item_index for row in known.collect())

    every = [*range(1, 13), 14]
    assert listed(20, None) == listed(20, 31) == every
    assert listed(20, 30) == [1, *every[3:]], "numbers of the others stay"
    assert listed(10, 30) == [1, *every[3:12]], "the one that waits comes in when another retires"

    def warning(max_items, retire_after_days):
        return room_warning(indices, RecommendSettings(max_items=max_items, retire_after_days=retire_after_days))

    assert warning(15, None) is None, "13 of 15"
    assert warning(14, None).startswith("gold.item_vocabulary uses 13 of recommend.max_items 14 items")
    assert warning(13, None).startswith("gold.item_vocabulary is full: 0 items beyond")
    assert warning(10, 30).startswith("gold.item_vocabulary is full: 1 items beyond recommend.max_items 10 are recom")
    assert "lower recommend.retire_after_days (30)" in warning(10, 30)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_daily_runs_equal_a_rebuild_and_leave_valid_days_alone(new_lake):
    lake = new_lake(recommend={"min_item_events": 2, "test_days": 1, "retire_after_days": 9})
    spark = lake.spark

    def daily_run(lake, morning):
        tonight = Lake(spark, lake.settings.model_copy(update={"as_of": morning}), job="build_interactions")
        days = [morning, morning - timedelta(days=1)]
        for update in (update_item_vocabulary, update_interactions, update_item_sequences):
            update(tonight, days)
        return {write.table: write.days for write in tonight.written}

    def land(batch, *cases):
        named = ({**case, "event_id": f"{batch}{n}", "batch_id": batch} for n, case in enumerate(cases))
        sign(lake, batch, events(spark, *named))
        update_customer_item_days(lake)
        update_item_days(lake)

    days = [on("2024-02-20"), on("2024-02-21")]
    old = [
        see(f"c{n % 3}", item, f"2024-02-{10 + n}") for n in range(9) for item in ("pan", "pot", "gone")[: 3 - n // 2]
    ]
    land("start", *old)
    both = (days[0] - timedelta(days=1), days[0])
    written = daily_run(lake, days[0])
    assert (
        written
        == {  # the last write of each: indices, interactions and sequences are carried on from the day before
            t.ITEM_INDICES.title: both[1:],
            t.ITEM_VOCABULARY.title: both,
            t.INTERACTIONS.title: both[1:],
            t.ITEM_SEQUENCES.title: both[1:],
        }
    )
    assert daily_run(lake, days[0]) == {}, "nothing new"
    late = see("c2", "pan", "2024-02-11", known_at=at(str(days[0])))
    new = [see("c1", "cup", str(days[0])), see("new", "cup", str(days[0]), "purchase"), see("c1", "pot", str(days[0]))]
    land("b1", late, *new, see("c1", "jar", str(days[0]), "purchase"))
    assert set(daily_run(lake, days[1]).values()) == {(days[1],)}, "the day before is still valid"

    carried = {table.title: rows(lake.read_as_of(table, days[1]), table) for table in OF_JOB}
    for table in OF_JOB:
        spark.sql(f"DROP TABLE {lake.name(table)}")
    daily_run(Lake(spark, lake.settings), days[1])
    for table in OF_JOB:
        assert carried[table.title] == rows(lake.read_as_of(table, days[1]), table)
    known = {row.item_id: row.item_index for row in lake.read_as_of(t.ITEM_VOCABULARY, days[1]).collect()}
    assert known == {"pan": 2, "pot": 3, "cup": 4}, "gone keeps its number, and is in no list"
