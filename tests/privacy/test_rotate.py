"""One small shop under a key, and what becomes of it when a second key is added."""

from pathlib import Path

import pytest
import yaml
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.errors import ContractError
from clm_spark.job import run_job
from clm_spark.jobs import (
    build_features,
    build_interactions,
    build_item_features,
    build_sessions,
    ingest_events,
    replay_rejected,
    rotate_key,
)
from clm_spark.keys import KeyChain
from clm_spark.models.als import rekey_als
from clm_spark.privacy import rotate
from clm_spark.privacy.pseudonyms import pseudonym
from clm_spark.tables.catalog import EVENTS, RAW_EVENTS, REJECTED_EVENTS, SESSIONS, TABLES
from clm_spark.tables.lake import Lake

OLD, NEW = "the first key of the shop", "the key that comes after it"
ANN, BOB = "ann@example.com", "customer-77-raw"
HEADER = "when,who,what,sku,note"
LINES = [
    f"2024-02-01T10:00:00Z,{ANN},look,i1,sent to {ANN}",
    f"2024-02-01T10:01:00Z,{ANN},buy,i1,",
    f"2024-02-02T10:00:00Z,{ANN},look,i2,",
    f"2024-02-02T10:00:00Z,{BOB},look,i1,{BOB}",
    f"2024-02-02T12:00:00Z,{BOB},look,i2,",
    f"2024-02-02T12:01:00Z,{BOB},stare,i2,",  # rejected, until the mapping says what it is
]


def mapping(file: Path, **kinds: str) -> None:
    fields = {"occurred_at": "when", "customer_id": "who", "kind": "what", "item_id": "sku"}
    kinds = {"look": "view", "buy": "purchase", **kinds}
    said = {"format": "csv", "header": HEADER, "fields": fields, "kinds": kinds, "attributes": {"note": "note"}}
    file.write_text(yaml.safe_dump(said))


@pytest.fixture
def new_shop(new_lake, tmp_path):
    """Makes lakehouses of one and the same log: `new_shop(OLD, NEW)` names the keys."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.csv").write_text("\n".join([HEADER, *LINES]))
    mapping(tmp_path / "shop.yml")
    ingest = {"source": "mapping", "path": str(tmp_path / "log"), "mapping": str(tmp_path / "shop.yml")}

    def make(*keys: str) -> Lake:
        return with_keys(
            new_lake(
                as_of="2024-02-03",
                ingest={**ingest, "max_rejected_share": 0.5},
                features={"panel_size": 1},
                recommend={"min_item_events": 1},
                privacy={"key_file": str(tmp_path / "unused")},
            ),
            *keys,
        )

    return make


def with_keys(lake: Lake, *keys: str, **changes: object) -> Lake:
    """The same lakehouse for another process, under these keys."""
    file = Path(lake.settings.lakehouse.path) / f"{len(keys)}-{'-'.join(keys)[:40]}.key".replace(" ", "_")
    file.write_text("\n".join(keys))
    privacy = lake.settings.privacy.model_copy(update={"key_file": str(file), **changes})
    return Lake(lake.spark, lake.settings.model_copy(update={"privacy": privacy}))


def run(lake: Lake, *jobs) -> None:
    for job in jobs:
        job.run(Lake(lake.spark, lake.settings), lake.settings)


def rows_of(lake: Lake, table) -> list[str]:
    """Every row as text; the batch is named after where the log lies, the same for both lakehouses."""
    rows = lake.read(table)
    return sorted(row.text for row in rows.select(F.to_json(F.struct(*rows.columns)).alias("text")).collect())


def stored(lake: Lake) -> dict[str, str]:
    """What lies in every table there is, as it lies there."""
    there = [table for table in TABLES if lake.exists(table)]
    rows = {table.title: lake.stored(table).select(F.to_json(F.struct("*")).alias("text")) for table in there}
    return {title: "\n".join(row.text for row in texts.collect()) for title, texts in rows.items()}


def names_in(lake: Lake) -> set[str]:
    """Pseudonyms and ids of events, none of which may outlive a change of key."""
    events = lake.read(EVENTS).select("event_id", "customer_id").collect()
    return {name for row in events for name in row}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_new_key_rekeys_every_table(new_shop, monkeypatch):
    shop, chained = new_shop(OLD), new_shop(OLD, NEW)
    run(shop, ingest_events, build_sessions, build_features, build_item_features, build_interactions)
    old = names_in(shop)
    assert len(old) == 5 + 2
    for title, texts in stored(shop).items():
        assert [raw for raw in (ANN, BOB, "example.com", "customer-77") if raw in texts] == [], title
    assert {row.note for row in shop.read(EVENTS).select(F.col("attributes")["note"].alias("note")).collect()} == {
        "sent to [e-mail]", "[customer]", None,
    }  # fmt: skip
    assert sorted(row.record for row in shop.read(RAW_EVENTS).collect()) == sorted(LINES), "opened for who has the key"
    sealed = shop.stored(RAW_EVENTS).select("record").union(shop.stored(REJECTED_EVENTS).select("record"))
    assert sealed.where("record LIKE 'clm-sealed:%'").count() == len(LINES) + 1
    view = shop.spark.table(f"{shop.schemas.name('analysts')}.raw_events")
    assert view.columns == ["batch_id", "source", "file", "position", "arrived_at", "header"]
    assert shop.spark.table(f"{shop.schemas.name('analysts')}.events").count() == 5

    longer = with_keys(shop, OLD, NEW)
    for keys, changes, expected in [
        ((NEW,), {}, "every customer would become two"),
        ((OLD, NEW), {}, "has a line more: re-key the tables first with `clm rotate-key`"),
        ((OLD,), {"keep_raw_ids": True}, "bronze.rejected_events keeps its records sealed"),
    ]:
        refused = with_keys(shop, *keys, **changes)
        with pytest.raises(ContractError, match=expected):
            run_job(refused.spark, "replay_rejected", replay_rejected.run, refused.settings)
    with pytest.raises(ContractError, match="does not go on from"):
        run(with_keys(shop, NEW, OLD), rotate_key)

    whole, done = rotate._rekey, []

    def die(*args):
        if len(done) == 3:  # after events, amid the tables
            raise RuntimeError("killed")
        done.append(whole(*args))
        return True

    monkeypatch.setattr(rotate, "_rekey", die)
    with pytest.raises(RuntimeError):
        run(longer, rotate_key)
    for half in (shop, longer):
        with pytest.raises(ContractError, match="is half re-keyed, from key"):
            run_job(half.spark, "build_sessions", build_sessions.run, half.settings)
        with pytest.raises(ContractError, match="is half re-keyed, from key"):
            Lake(half.spark, half.settings).read(SESSIONS)
    monkeypatch.setattr(rotate, "_rekey", whole)
    versions = {table.title: longer.version(table) for table in (RAW_EVENTS, REJECTED_EVENTS, EVENTS)}
    run(longer, rotate_key)
    assert versions == {table.title: longer.version(table) for table in (RAW_EVENTS, REJECTED_EVENTS, EVENTS)}
    for title, texts in stored(longer).items():
        assert [name for name in old if name in texts] == [], title

    run(chained, ingest_events, build_sessions)
    longer = with_keys(shop, OLD, NEW)
    for table in (RAW_EVENTS, REJECTED_EVENTS, EVENTS, SESSIONS):
        assert rows_of(longer, table) == rows_of(chained, table), table.title
    assert longer.stored(RAW_EVENTS).exceptAll(chained.stored(RAW_EVENTS)).isEmpty(), "the very same bytes"

    mapping(Path(shop.settings.ingest.mapping), stare="view")
    run(longer, replay_rejected)
    assert longer.read(EVENTS).count() == 6
    assert {(row.record, row.replayed_in is None) for row in longer.read(REJECTED_EVENTS).collect()} == {
        (LINES[5], False)
    }

    allowed = with_keys(shop, OLD, NEW, keep_raw_ids=True)
    run(allowed, rotate_key)  # no new key: records alone are kept anew
    assert sorted(row.record for row in allowed.stored(RAW_EVENTS).collect()) == sorted(LINES)
    assert [row.record for row in allowed.read(REJECTED_EVENTS).collect()] == [LINES[5]]


def test_no_column_that_is_named_after_a_customer_is_forgotten():
    forgotten = [
        f"{table.title}.{column.name}"
        for table in TABLES
        for column in table.columns
        if isinstance(column.type, T.StringType) and column.rekeyed is None
        if any(word in f"{column.name} {column.comment}" for word in ("customer_id", "event_id", "pseudonym"))
        or column.name == "session_id"
    ]
    assert forgotten == []
    with_raw_data = {table.title for table in TABLES if len(table.public_columns) < len(table.columns)}
    # Beside raw records, the errors of runs, which may cite them.
    assert {title for title in with_raw_data if not title.startswith("bronze.")} == {"gold.runs"}


def test_a_saved_model_knows_its_customers_under_the_new_key(spark, tmp_path):
    customers = spark.createDataFrame([("ann", 0), ("bob", 1)], "raw string, customer_index int")
    under = {
        keys: customers.select(pseudonym(F.col("raw"), key=KeyChain(keys)).alias("customer_id"), "customer_index")
        for keys in ((OLD.encode(),), (OLD.encode(), NEW.encode()))
    }
    before, after = under.values()
    before.write.parquet(f"{tmp_path}/customers")
    (tmp_path / "customers-fp2").mkdir()  # a run died while it wrote
    for _ in range(2):
        rekey_als(spark, f"file://{tmp_path}", links=(NEW.encode(),), key="fp2")
        assert [folder.name for folder in tmp_path.glob("customers*")] == ["customers-fp2"]
        assert sorted(spark.read.parquet(f"{tmp_path}/customers*").collect()) == sorted(after.collect())
