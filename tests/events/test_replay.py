import pytest
import yaml

from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, REJECTED_EVENTS
from clm_spark.tables.lake import Lake
from jobs import ingest_events, replay_rejected

HEADER = "when,who,what,sku"
LINES = (
    "2024-02-01T10:00:00Z,ann,look,i1",
    "",
    "2024-02-01T10:01:00Z,ann,stare,i1",  # no kind that we know, until the mapping says that it is a view
    "2024-02-01T10:02:00Z,ann,stare,i2",
    "2024-02-01T10:02:00Z,ann,stare,i2",  # the same again
    "2024-02-01T10:03:00Z,,look,i1",  # nobody: that stays so
    *(f"2024-02-02T{hour:02}:00:00Z,bob,look,i{hour}" for hour in range(24)),
)


def mapping(file, **kinds: str) -> None:
    fields = {"occurred_at": "when", "customer_id": "who", "kind": "what", "item_id": "sku"}
    file.write_text(yaml.safe_dump({"format": "csv", "header": HEADER, "fields": fields, "kinds": kinds}))


def ledger(lake: Lake) -> dict[str, tuple[int, ...]]:
    rows = lake.read(INGESTED_BATCHES).collect()
    return {r.batch_id[:6]: (r.num_files, r.num_read, r.num_kept, r.num_rejected, r.num_duplicates) for r in rows}


@pytest.mark.timeout(600)
def test_what_was_rejected_is_taken_in_once_the_mapping_is_mended(new_lake, tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.csv").write_text("\n".join([HEADER, *LINES]))
    mapping(tmp_path / "shop.yml", look="view")
    ingest = {"source": "mapping", "path": str(tmp_path / "log"), "mapping": str(tmp_path / "shop.yml")}
    lake = new_lake(as_of="2024-02-10", ingest={**ingest, "max_rejected_share": 0.2})
    ingest_events.run(lake, lake.settings)
    (first,) = ledger(lake).values()
    assert first == (1, 29, 25, 4, 0)

    def rejected() -> list[tuple[object, ...]]:
        rows = lake.read(REJECTED_EVENTS).collect()
        return sorted((r.position, r.reason, (r.replayed_in or "")[:6]) for r in rows)

    lines = [4, 5, 6, 7]  # of the file: the header is 1, and the blank line counts
    assert rejected() == [(n, r, "") for n, r in zip(lines, ["unknown_kind"] * 3 + ["missing_customer"], strict=True)]

    mapping(tmp_path / "shop.yml", look="view", stare="view")
    for _ in range(2):  # the second time nothing moves
        replay_rejected.run(lake, lake.settings)
        assert ledger(lake)["replay"] == (1, 4, 2, 1, 1)
        assert rejected() == [*((n, "unknown_kind", "replay") for n in lines[:3]), (7, "missing_customer", "")]
        assert lake.read(EVENTS).count() == 27
    taken = lake.read(EVENTS).where("batch_id LIKE 'replay%'").selectExpr("item_id", "CAST(known_at AS STRING) AS t")
    assert sorted(map(tuple, taken.collect())) == [("i1", "2024-02-10 00:00:00"), ("i2", "2024-02-10 00:00:00")]
    assert lake.read_as_of(EVENTS).count() == 25, "the day that was computed without them stays as it was"
