import gzip
import shutil

import pytest
from small_shop import write_log

from clm_spark.errors import ContractError, SourceError
from clm_spark.events.ingest import batches as ingest
from clm_spark.jobs import ingest_events
from clm_spark.sources.rees46 import HEADER
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, INGESTED_FILES, RAW_EVENTS, REJECTED_EVENTS
from clm_spark.tables.lake import Lake

LINE = "2024-02-01 10:0{}:00 UTC,view,1001,7,kitchen.pan,acme,1.00,5,s"


@pytest.fixture
def landing(tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def run_ingestion(lake: Lake, **changes: object) -> None:
    settings = lake.settings.model_copy(update={"ingest": lake.settings.ingest.model_copy(update=changes)})
    ingest_events.run(Lake(lake.spark, settings), settings)


def ledger(lake: Lake) -> list[tuple[int, ...]]:
    rows = lake.read(INGESTED_BATCHES).collect()
    return sorted((r.num_files, r.num_read, r.num_kept, r.num_rejected, r.num_duplicates) for r in rows)


def files(lake: Lake) -> dict[str, tuple[int, ...]]:
    rows = lake.read(INGESTED_FILES).collect()
    return {r.file.rsplit("/", 1)[-1]: (r.num_read, r.num_kept, r.num_rejected, r.num_duplicates) for r in rows}


def ids(lake: Lake) -> list[str]:
    return sorted(row.event_id for row in lake.read(EVENTS).select("event_id").collect())


@pytest.mark.long
@pytest.mark.timeout(600)
def test_files_and_events_are_ingested_once(new_lake, landing, monkeypatch):
    truth = write_log(landing / "monday.csv")  # the log, one line of it again, and one broken line
    lake = new_lake(ingest={"source": "rees46", "path": str(landing)})
    first = (1, truth.num_events + 2, truth.num_events, 1, 1)

    def die(*_, **__):
        raise RuntimeError("killed")

    with monkeypatch.context() as killed:
        killed.setattr(ingest, "complete_batch", die)
        with pytest.raises(RuntimeError):
            run_ingestion(lake)
    assert ledger(lake) == [], "a batch without proof is not complete"
    run_ingestion(lake)
    assert ledger(lake) == [first], "the run after finishes it"
    assert lake.read(RAW_EVENTS).count() == truth.num_events + 2
    (broken,) = lake.read(REJECTED_EVENTS).collect()
    assert (landing / "monday.csv").read_text().splitlines()[broken.position - 1] == broken.record
    events, version = ids(lake), lake.version(EVENTS)
    assert len(set(events)) == len(events) == truth.num_events

    run_ingestion(lake)
    assert (ledger(lake), lake.version(EVENTS)) == ([first], version), "nothing new, nothing written"

    shutil.copy(landing / "monday.csv", landing / "tuesday.csv")
    run_ingestion(lake)
    assert ledger(lake) == sorted([first, (1, truth.num_events + 2, 0, 1, truth.num_events + 1)])
    assert ids(lake) == events
    assert files(lake)["tuesday.csv"] == (truth.num_events + 2, 0, 1, truth.num_events + 1)
    assert lake.read(REJECTED_EVENTS).where("reason = 'unparsable'").count() == 2

    packed = gzip.compress((landing / "monday.csv").read_bytes())
    (landing / "wednesday.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=r"wednesday\.csv\.gz cannot be read to its end"):
        run_ingestion(lake)
    assert len(ledger(lake)) == 2
    (landing / "wednesday.csv.gz").unlink()

    usable, broken = (landing / "monday.csv").read_text().splitlines()[:2], ["cut,off"] * 9
    (landing / "thursday.csv").write_text("\n".join([*usable, *broken]))
    with pytest.raises(SourceError, match=r"9 of 10 records .* \(unparsable 9\): expected at most 10%"):
        run_ingestion(lake, tolerated_rejects=8)
    assert ids(lake) == events
    assert files(lake)["thursday.csv"] == (None,) * 4

    (landing / "views.tsv").write_text("1\t2\n")
    with pytest.raises(ContractError, match=r"holds events of source rees46, and retailrocket came"):
        run_ingestion(lake, source="retailrocket")


@pytest.mark.long
def test_the_ledger_counts_files_of_any_name(new_lake, landing):
    names = ("my clicks.csv", "100%.csv", "clicks[1].csv", "Käufe.csv")
    for minute, name in enumerate(names, start=1):
        (landing / name).write_text("\n".join([HEADER, LINE.format(minute)]))
    lake = new_lake(ingest={"source": "rees46", "path": str(landing)})
    run_ingestion(lake)
    assert files(lake) == dict.fromkeys(names, (1, 1, 0, 0))
    run_ingestion(lake)
    assert ledger(lake) == [(4, 4, 4, 0, 0)], "none of them is new"


@pytest.mark.long
def test_a_batch_that_lost_a_record_is_not_completed(new_lake, landing, monkeypatch):
    (landing / "a.csv").write_text("\n".join([HEADER, *(LINE.format(minute) for minute in (1, 2, 3))]))
    lake = new_lake(ingest={"source": "rees46", "path": str(landing)})
    whole = ingest.typed_records

    def lossy(*arguments):
        return whole(*arguments).where("position != 3")

    monkeypatch.setattr(ingest, "typed_records", lossy)
    with pytest.raises(ContractError, match="nothing_is_lost"):
        run_ingestion(lake)
    assert ledger(lake) == []
    monkeypatch.undo()
    run_ingestion(lake)
    assert ledger(lake) == [(1, 3, 3, 0, 0)], "the run after finds it again"
