from dataclasses import replace
from datetime import date

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.errors import ContractError
from clm_spark.settings import ShopSettings
from clm_spark.tables.contract import Column, Table
from clm_spark.tables.guard import Guard
from clm_spark.tables.lake import Lake

VISITS = Table(
    "gold",
    "lake_test_visits",
    "customer and as_of",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        Column("customer_id", T.StringType(), "the customer's number"),
        Column("as_of", T.DateType(), "the day"),
        Column("num_visits", T.LongType(), "visits", check="num_visits >= 0"),
    ),
)
DAYS = Table(
    "gold",
    "lake_test_days",
    "customer, day and day known",
    key=("customer_id", "day_on", "known_on"),
    clock="versions",
    columns=(
        Column("customer_id", T.StringType(), "the customer"),
        Column("day_on", T.DateType(), "the day"),
        Column("known_on", T.DateType(), "when known"),
        Column("n", T.LongType(), "a count", nullable=True),
    ),
)
MONDAY, TUESDAY = date(2024, 2, 26), date(2024, 2, 27)


def visits(lake: Lake, *rows: tuple[str, date, int | None]):
    return lake.spark.createDataFrame(rows, "customer_id string, as_of date, num_visits bigint")


def stored(lake: Lake) -> list[tuple]:
    return sorted(map(tuple, lake.read(VISITS).collect()))


def test_a_day_is_replaced_and_others_stay(lake):
    lake.replace(visits(lake, ("a", MONDAY, 1), ("b", MONDAY, 2)), into=VISITS, as_of=MONDAY)
    lake.replace(visits(lake, ("a", TUESDAY, 5)), into=VISITS, as_of=TUESDAY)
    written = lake.replace(visits(lake, ("a", MONDAY, 7)), into=VISITS, as_of=MONDAY)
    assert stored(lake) == [("a", MONDAY, 7), ("a", TUESDAY, 5)]
    assert (written.num_rows, written.version) == (1, 3)
    assert [r.num_visits for r in lake.read_as_of(VISITS, TUESDAY).collect()] == [5]

    lake.replace(visits(lake, ("z", TUESDAY, 0)), into=VISITS)
    assert stored(lake) == [("z", TUESDAY, 0)], "no slice named: the whole table"

    lake.merge(visits(lake, ("z", TUESDAY, 3), ("y", TUESDAY, 4)), into=VISITS)
    assert stored(lake) == [("y", TUESDAY, 4), ("z", TUESDAY, 3)]


def test_a_batch_is_appended_once(lake):
    for _ in range(2):
        lake.append_once(visits(lake, ("a", MONDAY, 1)), into=VISITS, batch="files-1")
    lake.append_once(visits(lake, ("b", MONDAY, 1)), into=VISITS, batch="files-2")
    assert stored(lake) == [("a", MONDAY, 1), ("b", MONDAY, 1)]


def test_what_breaks_the_contract_is_refused_and_nothing_is_written(lake):
    lake.replace(visits(lake, ("a", MONDAY, 1)), into=VISITS, as_of=MONDAY)
    good = visits(lake, ("b", MONDAY, 1))
    cases = [
        (good.drop("as_of").withColumn("num_visits", F.lit("1")).withColumn("extra", F.lit(1)),
         ["as_of date is missing", "extra int is not declared", "num_visits should be bigint and is string"]),
        (visits(lake, ("b", MONDAY, -1)), ["num_visits_is_valid", "-1", "nothing was written"]),
        (visits(lake, ("b", MONDAY, None)), ["num_visits", "nothing was written"]),
        (visits(lake, ("b", TUESDAY, 1)), ["as_of", "nothing was written"]),
        (visits(lake, ("b", MONDAY, 1), ("b", MONDAY, 2)), ["1 keys come more than once", "b, 2024-02-26"]),
    ]  # fmt: skip
    for frame, expected in cases:
        with pytest.raises(ContractError) as error:
            lake.replace(frame, into=VISITS, as_of=MONDAY)
        assert [words for words in expected if words not in str(error.value)] == []
        assert "\n" not in str(error.value)
    assert stored(lake) == [("a", MONDAY, 1)]


def test_a_closed_list_is_held_at_the_write_and_may_grow(lake):
    channels = Table(
        "gold",
        "lake_test_channels",
        "channel",
        key=("channel",),
        columns=(
            Column("channel", T.StringType(), "the channel", values=("mail", "ads")),
            Column("before", T.StringType(), "the one before it", nullable=True, values=("mail", "ads")),
        ),
    )
    longer = replace(
        channels, columns=(replace(channels.columns[0], values=("mail", "ads", "o'shop")), *channels.columns[1:])
    )

    def write(table: Table, *rows: tuple[str, str | None], is_key_proven: bool = False) -> list[tuple]:
        frame = lake.spark.createDataFrame(rows, "channel string, before string")
        lake.replace(frame, into=table, is_key_proven=is_key_proven)
        return sorted(map(tuple, lake.read(table).collect()))

    assert write(channels, ("mail", None), ("ads", "mail")) == [("ads", "mail"), ("mail", None)]
    said = r"lake_test_channels: column channel holds 'o'shop', expected one of mail, ads; nothing was written"
    for is_key_proven in (False, True):
        with pytest.raises(ContractError, match=said) as error:
            write(channels, ("mail", None), ("o'shop", "mail"), is_key_proven=is_key_proven)
        assert "\n" not in str(error.value)
    assert lake.version(channels) == 1
    assert write(longer, ("o'shop", "mail")) == [("o'shop", "mail")], "by a release that knows one more"


def test_the_table_carries_its_contract(lake):
    lake.create(VISITS)
    columns = {r.col_name: r.comment for r in lake.spark.sql(f"DESCRIBE {lake.name(VISITS)}").collect()}
    assert columns["customer_id"] == "the customer's number"
    nullable = {f.name: f.nullable for f in lake.spark.table(lake.name(VISITS)).schema}
    assert nullable == {"customer_id": False, "as_of": False, "num_visits": False}
    properties = {r.key: r.value for r in lake.spark.sql(f"SHOW TBLPROPERTIES {lake.name(VISITS)}").collect()}
    assert properties["delta.constraints.num_visits_is_valid"] == "num_visits >= 0"
    assert properties["clm.key"] == "customer_id,as_of"


def test_an_as_of_takes_the_last_version_known_before_it(lake):
    rows = [("a", MONDAY, MONDAY, 1), ("a", MONDAY, date(2024, 3, 5), 2), ("b", TUESDAY, TUESDAY, 9)]
    lake.replace(
        lake.spark.createDataFrame(rows, "customer_id string, day_on date, known_on date, n bigint"), into=DAYS
    )
    seen = {day: sorted((r.customer_id, r.n) for r in lake.read_as_of(DAYS, day).collect()) for day in
            (MONDAY, TUESDAY, date(2024, 3, 5), date(2024, 3, 6))}  # fmt: skip
    assert seen == {
        MONDAY: [],
        TUESDAY: [("a", 1)],
        date(2024, 3, 5): [("a", 1), ("b", 9)],
        date(2024, 3, 6): [("a", 2), ("b", 9)],
    }


def by_hand(lake: Lake, statement: str) -> str:
    """What the next process says of a table that somebody changed in SQL."""
    lake.spark.sql(statement.format(lake.name(VISITS)))
    with pytest.raises(ContractError) as error:
        Lake(lake.spark, lake.settings).read(VISITS)
    return str(error.value)


def test_a_table_changed_by_hand_is_refused(lake):
    lake.replace(visits(lake, ("a", MONDAY, 1)), into=VISITS)
    assert "version 2 is a UPDATE" in by_hand(lake, "UPDATE {} SET num_visits = 9")
    lake.spark.sql(f"RESTORE TABLE {lake.name(VISITS)} TO VERSION AS OF 1")
    assert stored(lake) == [("a", MONDAY, 1)]
    said = by_hand(lake, "ALTER TABLE {} ADD COLUMN note string")
    assert "note string is not declared" in said
    assert "rule num_visits_is_valid is gone" in by_hand(lake, "ALTER TABLE {} DROP CONSTRAINT num_visits_is_valid")


def test_work_beside_a_job_leaves_its_record_alone(lake, monkeypatch):
    lake.replace(visits(lake, ("a", MONDAY, 1)), into=VISITS, as_of=MONDAY)
    job = Lake(lake.spark, lake.settings)
    job.read(VISITS)
    beside = job.beside()
    monkeypatch.setattr(Guard, "check", lambda *_: pytest.fail("checked again"))
    assert stored(beside) == [("a", MONDAY, 1)]
    beside.replace(visits(lake, ("a", MONDAY, 2)), into=VISITS, as_of=MONDAY)
    assert (job.inputs, job.written) == ({VISITS.title: 1}, [])
    assert [write.version for write in beside.written] == [2]


def test_missing_tables_and_other_shops_are_named(lake):
    with pytest.raises(ContractError, match=r"gold\.lake_test_visits does not exist"):
        lake.read(VISITS)
    lake.replace(visits(lake, ("a", MONDAY, 1)), into=VISITS)
    other = Lake(lake.spark, lake.settings.model_copy(update={"shop": ShopSettings(name="rival")}))
    with pytest.raises(ContractError, match="holds another shop's data: expected shop 'rival'"):
        other.read(VISITS)
