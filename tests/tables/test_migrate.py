"""A table of an earlier release meets today's contract."""

from dataclasses import replace
from datetime import date

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark import __version__
from clm_spark.errors import ContractError
from clm_spark.tables import migrate as migrations_at_work
from clm_spark.tables import migrations
from clm_spark.tables.contract import Column, Table, squeezed
from clm_spark.tables.lake import Lake
from clm_spark.tables.migrate import migrate
from clm_spark.tables.migrations import Step

MONDAY, TUESDAY = date(2024, 2, 26), date(2024, 2, 27)
CUSTOMER = Column("customer_id", T.StringType(), "the customer")
AS_OF = Column("as_of", T.DateType(), "the day")
SHARE = Column("share", T.DoubleType(), "of its visits", check="share BETWEEN 0 AND 1")
OLD = Table(
    "gold",
    "migrate_test",
    "customer and as_of",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(CUSTOMER, AS_OF, SHARE, Column("num_visits", T.LongType(), "visits", check="num_visits >= 0")),
    checks={"visits_have_share": "num_visits > 0 OR share = 0"},
)
ROWS = [("a", MONDAY, 0.5, 1), ("b", MONDAY, 0.0, 0), ("a", TUESDAY, 1.0, 4)]
LONGER = replace(
    OLD,
    grain="customer and as_of: what came of it",
    filtered_by=("customer_id",),
    columns=(
        CUSTOMER,
        Column("label", T.StringType(), "in words, the customer's {own}", nullable=True, check="length(label) > 1"),
        AS_OF,
        replace(SHARE, check="share BETWEEN -1 AND 1", comment="of the customer's visits"),
        replace(OLD.columns[3], nullable=True, check="num_visits >= 0"),
    ),
    checks={},
)
BY_UNIT = replace(
    OLD,
    key=("customer_id", "unit", "as_of"),
    slices=("as_of", "unit"),
    columns=(
        CUSTOMER,
        AS_OF,
        Column("unit", T.StringType(), "what the value is"),
        Column("value", T.DoubleType(), "the value", check="value >= 0"),
        Column("is_fallback", T.BooleanType(), "whether a rule said so", default=False),
    ),
    checks={},
)
STEP = Step(
    "2026-01-value-for-share",
    table=OLD.title,
    change=lambda rows: rows.select(
        "customer_id", "as_of", F.lit("share").alias("unit"), F.col("share").alias("value")
    ),
    drops=("share", "num_visits"),
)


def put(lake: Lake, table: Table = OLD, rows=ROWS) -> None:
    for day in (MONDAY, TUESDAY):
        frame = lake.spark.createDataFrame([row for row in rows if row[1] == day], OLD.schema)
        lake.replace(frame, into=table, as_of=day)


def anew(lake: Lake) -> Lake:
    """For another process."""
    return Lake(lake.spark, lake.settings, job="migrate_tables")


def refusal(lake: Lake, table: Table) -> str:
    """What `clm migrate` says, which then has changed nothing."""
    before = lake.version(table)
    with pytest.raises(ContractError) as error:
        migrate(anew(lake), [table])
    assert lake.version(table) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def state(lake: Lake, table: Table) -> dict:
    """All that the stored table says of itself, and its rows."""
    stored = lake.guard.read(table)
    # ALTER TABLE writes a rule as Spark's parser spells it.
    ours = {
        key: squeezed(value) if key.startswith("delta.constraints.") else value
        for key, value in stored.properties.items()
        if key.startswith(("clm.", "delta."))
    }
    view = lake.spark.table(f"{lake.schemas.name('analysts')}.{table.name}")
    return {
        "schema": sorted(map(str, stored.schema.jsonValue()["fields"])),  # columns added stand at the end
        "properties": {key: value for key, value in ours.items() if key != "clm.view"},
        "view": {field.name: field.metadata.get("comment") for field in view.schema},
        "rows": sorted(map(str, lake.read(table).select(table.schema.names).collect())),
    }


def test_what_loses_nothing_is_applied_commit_by_commit(new_lake):
    lake, fresh = new_lake(), new_lake()
    put(lake)
    with pytest.raises(ContractError) as error:
        anew(lake).read(LONGER)
    said = f"is behind this release ({__version__}) in gold.migrate_test: bring it up to date with `clm migrate --as-of"
    assert said in str(error.value)
    done = anew(lake)
    migrate(done, [LONGER])
    (written,) = done.written
    assert written.version == lake.version(LONGER)
    rows = sorted(map(tuple, anew(lake).read(LONGER).select(LONGER.schema.names).collect()))
    assert rows == sorted((customer, None, day, share, n) for customer, day, share, n in ROWS)
    assert lake.read_version(LONGER, 2).count() == 3, "history stays"
    assert [commit.version for commit in lake.commits(LONGER) if commit.changes_rows] == [2, 1]
    again = anew(lake)
    migrate(again, [LONGER])
    assert (again.written, lake.version(LONGER)) == ([], written.version)

    fresh.create(LONGER)
    as_new = state(fresh, LONGER)
    migrated = state(lake, LONGER)
    differing = {*migrated["properties"].items()} ^ {*as_new["properties"].items()}
    assert differing == set(), "as if this release had made it"
    assert {**migrated, "rows": []} == as_new, "as if this release had made it"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_migration_that_is_killed_goes_on(new_lake, monkeypatch):
    lake, torn = new_lake(), new_lake()
    for each in (lake, torn):
        put(each)
    done = anew(lake)
    migrate(done, [LONGER])
    (written,) = done.written
    commit, num_commits = migrations_at_work._alter, written.version - 2  # made, and two days written

    def die_at_the_second(*args):
        if done_here:
            raise RuntimeError("killed")
        commit(*args)
        done_here.append(args)

    monkeypatch.setattr(migrations_at_work, "_alter", die_at_the_second)
    for _ in range(num_commits - 1):
        done_here = []
        with pytest.raises(RuntimeError, match="killed"):
            migrate(anew(torn), [LONGER])
        with pytest.raises(ContractError, match="is behind this release"):
            anew(torn).read(LONGER)
    done_here = []
    migrate(anew(torn), [LONGER])  # one commit a run
    assert state(torn, LONGER) == state(lake, LONGER)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["_planned", "_show", "_alter"])
def test_a_migration_that_is_killed_after_a_step_goes_on(new_lake, monkeypatch, stage):
    lake, torn = new_lake(), new_lake()
    for each in (lake, torn):
        put(each)
    monkeypatch.setattr(migrations, "STEPS", (STEP,))
    migrate(anew(lake), [BY_UNIT])
    step = getattr(migrations_at_work, stage)

    def die_once_rows_are_written(its_lake, *args):
        if "value" in its_lake.stored(BY_UNIT).columns:
            raise RuntimeError("killed")
        return step(its_lake, *args)

    with monkeypatch.context() as killed:
        killed.setattr(migrations_at_work, stage, die_once_rows_are_written)
        with pytest.raises(RuntimeError, match="killed"):
            migrate(anew(torn), [BY_UNIT])
    written = torn.version(BY_UNIT)
    with pytest.raises(ContractError, match="is behind this release"):
        anew(torn).read(BY_UNIT)
    migrate(anew(torn), [BY_UNIT])
    assert state(torn, BY_UNIT) == state(lake, BY_UNIT)
    rewritten = [commit.version for commit in torn.commits(BY_UNIT) if "steps" in commit.mark and commit.changes_rows]
    assert rewritten == [written], "rows are written once"


def test_what_loses_or_breaks_rows_is_refused_by_name(lake):
    put(lake)
    share, visits = OLD.columns[2:]
    cases = [
        (replace(OLD, columns=OLD.columns[:3], checks={}), "gold.migrate_test: column num_visits is removed or renamed"),
        (replace(OLD, columns=(*OLD.columns[:3], replace(visits, type=T.DoubleType()))),
         "column num_visits changes its type from bigint to double"),
        (replace(OLD, key=("customer_id",)), "the key changes from customer_id,as_of to customer_id"),
        (replace(OLD, slices=()), "the partitions change from as_of to none"),
        (replace(OLD, columns=(CUSTOMER, AS_OF, replace(share, check="share < 0.9"), visits)),
         'rule share_is_valid becomes share < 0.9, and a stored row is {"customer_id":"a","as_of":"2024-02-27","share":1.0}'),
        (replace(OLD, columns=(*OLD.columns, Column("unit", T.StringType(), "unit"))),
         "column unit is added without a default"),
    ]  # fmt: skip
    said = [refusal(lake, table) for table, _ in cases]
    assert [words for words, (_, expected) in zip(said, cases, strict=True) if expected not in words] == []
    assert all("nothing was changed" in words and "tables/migrations" in words for words in said)

    narrower = replace(OLD, columns=(CUSTOMER, AS_OF, share, replace(visits, check="num_visits < 5")))
    migrate(anew(lake), [narrower])  # every stored row holds it
    put(lake, narrower)
    with pytest.raises(ContractError, match="num_visits < 5"):
        put(lake, narrower, [("a", MONDAY, 0.5, 5)])


@pytest.mark.long
def test_a_step_changes_rows_in_one_commit_and_once(lake, monkeypatch):
    put(lake)
    before = lake.version(OLD)
    assert "column share is removed or renamed" in refusal(lake, BY_UNIT)
    monkeypatch.setattr(migrations, "STEPS", (STEP,))
    for _ in range(2):
        migrate(anew(lake), [BY_UNIT])
    assert sorted(map(tuple, anew(lake).read(BY_UNIT).collect())) == sorted(
        (customer, day, "share", share, False) for customer, day, share, _ in ROWS
    )
    steps = [commit.version for commit in lake.commits(BY_UNIT) if "steps" in commit.mark and commit.changes_rows]
    assert steps == [before + 1]
    assert lake.guard.read(BY_UNIT).steps == (STEP.name,)
    assert lake.read_version(BY_UNIT, before).columns == OLD.schema.names, "history stays"
    assert lake.guard.read(BY_UNIT).differences(BY_UNIT) == []
    unnamed = anew(lake).read(BY_UNIT).withColumn("unit", F.lit(None).cast("string"))
    with pytest.raises(ContractError, match="unit_is_not_null"):
        anew(lake).replace(unnamed, into=BY_UNIT, is_key_proven=True)

    migrated = lake.version(BY_UNIT)
    lake.spark.sql(f"RESTORE TABLE {lake.name(OLD)} TO VERSION AS OF {before}")
    migrate(anew(lake), [BY_UNIT])
    assert lake.version(BY_UNIT) > migrated + 1
    assert anew(lake).read(BY_UNIT).columns == BY_UNIT.schema.names

    breaking = replace(
        STEP, name="2026-02-values", change=lambda rows: STEP.change(rows).withColumn("value", F.lit(-1.0))
    )
    lake.spark.sql(f"RESTORE TABLE {lake.name(OLD)} TO VERSION AS OF {before}")
    monkeypatch.setattr(migrations, "STEPS", (breaking,))
    assert "rule value_is_valid is value >= 0, and a stored row is" in refusal(lake, BY_UNIT)


@pytest.mark.long
def test_a_table_goes_through_all_steps_after_the_first_that_is_due(new_lake, monkeypatch):
    def renamed(before: str, after: str) -> Step:
        change = lambda rows: rows.withColumnRenamed(before, after)  # noqa: E731
        return Step(f"{after}-for-{before}", table=OLD.title, change=change, drops=(before,))

    def with_share_as(name: str) -> Table:
        return replace(OLD, columns=(CUSTOMER, AS_OF, replace(SHARE, name=name, check=None), OLD.columns[3]), checks={})

    chain = tuple(
        renamed(before, after) for before, after in (("share", "part"), ("part", "portion"), ("portion", "quota"))
    )
    cases = [  # the column as an earlier release had it, the steps that release knew, the steps that are left
        ("share", (), chain),
        ("part", (), chain[1:]),  # of a release that recorded none
        ("portion", chain[:2], chain[2:]),
        ("quota", chain, ()),
    ]
    for held, known, left in cases:
        lake = new_lake()
        monkeypatch.setattr(migrations, "STEPS", known)
        table = with_share_as(held)
        for day in (MONDAY, TUESDAY):
            rows = lake.spark.createDataFrame([row for row in ROWS if row[1] == day], table.schema)
            lake.replace(rows, into=table, as_of=day)
        monkeypatch.setattr(migrations, "STEPS", chain)
        migrate(anew(lake), [with_share_as("quota")])
        assert sorted(map(tuple, anew(lake).read(with_share_as("quota")).collect())) == sorted(ROWS)
        taken = [commit.mark["steps"] for commit in lake.commits(OLD) if "steps" in commit.mark and commit.changes_rows]
        assert taken == ([[step.name for step in left]] if left else []), held
        assert lake.guard.read(OLD).steps == tuple(step.name for step in chain)


def test_a_value_that_left_its_list_is_refused_while_rows_hold_it(lake):
    def of_units(*units: str) -> Table:
        unit = Column("unit", T.StringType(), "what the share is of", nullable=True, values=units)
        return replace(OLD, columns=(*OLD.columns, unit))

    rows = [("a", MONDAY, 0.5, 1, "visits"), ("b", MONDAY, 0.5, 1, None), ("c", MONDAY, 0.5, 1, "orders")]
    lake.replace(lake.spark.createDataFrame(rows, of_units().schema), into=of_units("visits", "orders"), as_of=MONDAY)
    lake.spark.sql(f"ALTER TABLE {lake.name(OLD)} SET TBLPROPERTIES ('clm.release' = '0.1.0')")
    said = refusal(lake, of_units("visits", "customer's"))
    assert "column unit is one of visits, customer's, and a stored row is" in said
    assert '{"customer_id":"c","as_of":"2024-02-26","unit":"orders"}' in said
    migrate(anew(lake), [of_units("orders", "visits", "customer's")])
    assert anew(lake).read(of_units("orders", "visits")).count() == 3


def test_tables_changed_by_hand_are_told_from_older_ones(lake):
    put(lake)
    name = lake.name(OLD)
    lake.spark.sql(f"ALTER TABLE {name} ADD CONSTRAINT an_analysts_own CHECK (num_visits < 100)")
    assert anew(lake).read(OLD).count() == 3
    for table in (OLD, LONGER):
        migrate(anew(lake), [table])
    assert "an_analysts_own" in str(lake.guard.read(LONGER).properties), "stays"
    lake.spark.sql(f"ALTER TABLE {name} ADD COLUMN note string")
    assert "was changed by hand: note string is not declared" in refusal(lake, LONGER)
    with pytest.raises(ContractError, match="was changed by hand"):
        anew(lake).read(LONGER)
