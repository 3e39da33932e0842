import os

import pytest
import yaml

from clm_spark.jobs import ingest_events, replay_rejected
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, REJECTED_EVENTS
from clm_spark.tables.lake import Lake

HEADER = "when,who,what,sku,known"
LINES = (
    "2024-02-01T10:00:00Z,ann,look,i1,",
    "",
    "2024-02-01T10:01:00Z,ann,stare,i1,",  # no kind that we know, until the mapping says that it is a view
    "2024-02-01T10:02:00Z,ann,stare,i2,",
    "2024-02-01T10:02:00Z,ann,stare,i2,",  # the same again
    "2024-02-01T10:03:00Z,,look,i1,",  # nobody: that stays so
    "2024-01-01T10:00:00Z,eve,look,i3,2024-02-01T10:00:00Z",  # later than we wait, until we wait longer
    *(f"2024-02-02T{hour:02}:00:00Z,bob,look,i{hour}," for hour in range(24)),
)


def mapping(file, **kinds: str) -> None:
    fields = {"occurred_at": "when", "customer_id": "who", "kind": "what", "item_id": "sku", "known_at": "known"}
    file.write_text(yaml.safe_dump({"format": "csv", "header": HEADER, "fields": fields, "kinds": kinds}))


def ledger(lake: Lake) -> dict[str, tuple[int, ...]]:
    rows = lake.read(INGESTED_BATCHES).collect()
    counts = {r.batch_id: (r.num_files, r.num_read, r.num_kept, r.num_rejected, r.num_duplicates) for r in rows}
    return {"replay" if name.startswith("replay") else name: figures for name, figures in counts.items()}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_rejected_records_are_replayed_after_a_correction_of_the_mapping(new_lake, tmp_path):
    (tmp_path / "log").mkdir()
    log = tmp_path / "log" / "a.csv"
    log.write_text("\n".join([HEADER, *LINES]))
    mapping(tmp_path / "shop.yml", look="view")
    ingest = {"source": "mapping", "path": str(tmp_path / "log"), "mapping": str(tmp_path / "shop.yml")}
    lake = new_lake(as_of="2024-02-10", ingest={**ingest, "max_rejected_share": 0.2, "max_lateness_days": 30})
    ingest_events.run(lake, lake.settings)
    assert list(ledger(lake).values()) == [(1, 30, 25, 5, 0)]
    # Delivered again under its name with one line more: every other line has moved.
    log.write_text("\n".join([HEADER, "2024-02-01T10:04:00Z,,look,i1,", *LINES]))
    os.utime(log, (log.stat().st_atime, log.stat().st_mtime + 60))
    ingest_events.run(lake, lake.settings)
    assert sorted(ledger(lake).values()) == [(1, 30, 25, 5, 0), (1, 31, 0, 6, 25)]

    def rejected() -> list[tuple[object, ...]]:
        rows = lake.read(REJECTED_EVENTS).collect()
        return sorted((r.arrived_at, r.position, r.reason, (r.replayed_in or "")[:6]) for r in rows)

    # Lines of the file: the header is 1, and the blank line counts.
    found = dict(zip((4, 5, 6, 7, 8), [*["unknown_kind"] * 3, "missing_customer", "too_late"], strict=True))
    moved = {2: "missing_customer"} | {line + 1: reason for line, reason in found.items()}
    early, late = sorted({time for time, *_ in rejected()})
    places = [(early, *place) for place in found.items()] + [(late, *place) for place in moved.items()]
    assert rejected() == [(*place, "") for place in places]

    mapping(tmp_path / "shop.yml", look="view", stare="view")
    patient = lake.settings.model_copy(
        update={"ingest": lake.settings.ingest.model_copy(update={"max_lateness_days": 31})}
    )
    for _ in range(2):  # the second time nothing moves
        replay_rejected.run(lake, patient)
        assert ledger(lake)["replay"] == (1, 11, 3, 3, 5)
        assert rejected() == [(*place, "" if place[-1] == "missing_customer" else "replay") for place in places]
        assert lake.read(EVENTS).count() == 28
    taken = lake.read(EVENTS).where("batch_id LIKE 'replay%'").selectExpr("item_id", "CAST(known_at AS STRING) AS t")
    assert sorted(map(tuple, taken.collect())) == [(item, "2024-02-10 00:00:00") for item in ("i1", "i2", "i3")]
    assert lake.read_as_of(EVENTS).count() == 25, "the day that was computed without them stays as it was"
