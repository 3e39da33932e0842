"""What the first load writes down, and from when a later run's events are known."""

import pytest
from shop_events import on

from clm_spark.errors import ContractError, SettingsError, SourceError
from clm_spark.job import run_job
from clm_spark.jobs import ingest_events
from clm_spark.settings import ShopSettings
from clm_spark.tables.catalog import EVENTS
from clm_spark.tables.lake import Lake

MAPPING = """
format: csv
header: when,who,what,item
time_zone: Asia/Tokyo
fields: {occurred_at: when, customer_id: who, kind: what, item_id: item}
"""
HISTORY = """2024-02-10 09:00:00,ann,view,a
2024-02-29 09:00:00,ann,view,b
"""
LATER = """2024-02-20 09:00:00,ann,view,late
2024-03-02 08:00:00,ann,view,new
"""


@pytest.mark.long
def test_the_first_load_is_a_history_and_later_runs_change_no_past_day(new_lake, tmp_path, caplog):
    caplog.set_level("INFO")
    folder = tmp_path / "log"
    folder.mkdir()
    (tmp_path / "shop.yml").write_text(MAPPING)
    ingest = {"source": "mapping", "mapping": str(tmp_path / "shop.yml"), "path": str(folder)}
    lake = new_lake(as_of="2024-03-01", ingest=ingest)

    def load(name: str, lines: str, as_of: str, **changes: object) -> Lake:
        (folder / name).write_text(f"when,who,what,item\n{lines}")
        asked = lake.settings.ingest.model_copy(update=changes)
        day = lake.settings.model_validate({**dict(lake.settings), "as_of": as_of, "ingest": asked})
        run_job(lake.spark, "ingest_events", ingest_events.run, day, reads_events=False)
        return Lake(lake.spark, day)

    # A load that is refused begins nothing: the next one is the history.
    with pytest.raises(SourceError, match="cannot be used"):
        load("history.csv", HISTORY + "2024-02-10 09:00:00,,view,a\n" * 9, "2024-02-29")
    # A wrong year is told, and may be mended.
    load("history.csv", HISTORY, "2025-03-01", max_rejected_share=0.9)
    assert "last event is of 2024-02-29, and as_of is 2025-03-01" in caplog.text
    load("history.csv", HISTORY, "2024-03-01")
    assert "the history ends on 2024-03-01, no longer on 2025-03-01" in caplog.text
    with pytest.raises(
        SettingsError, match=r"last event is of 2024-03-02, and as_of is 2025-03-03: .* --as-of 2024-03-03"
    ):
        load("later.csv", LATER, "2025-03-03")
    later = load("later.csv", LATER, "2024-03-03")
    with pytest.raises(ContractError, match=r"ends on 2024-03-01, .* ingest.history_until is 2024-01-01"):
        load("more.csv", HISTORY, "2024-03-04", history_until=later.settings.as_of.replace(month=1, day=1))

    assert later.time_zone == "Asia/Tokyo"  # the clock of the log
    known = later.read(EVENTS).selectExpr(
        "item_id", "CAST(occurred_at AS STRING) AS at", "CAST(known_at AS STRING) AS known"
    )
    assert sorted(map(tuple, known.collect())) == [
        ("a", "2024-02-10 00:00:00", "2024-02-10 00:00:00"),
        ("b", "2024-02-29 00:00:00", "2024-02-29 00:00:00"),
        ("late", "2024-02-20 00:00:00", "2024-03-01 15:00:00"),  # midnight of 2 March in Tokyo
        ("new", "2024-03-01 23:00:00", "2024-03-01 23:00:00"),
    ]
    with later.in_shops_zone():
        mornings = {
            day: later.read_as_of(EVENTS, day).count() for day in map(on, ("2024-03-01", "2024-03-02", "2024-03-03"))
        }
    assert list(mornings.values()) == [2, 2, 4]
    assert Lake(lake.spark, with_zone(later.settings, "UTC")).time_zone == "UTC"  # the settings' own comes first


def with_zone(settings, zone):
    return settings.model_copy(update={"shop": ShopSettings(name=settings.shop.name, time_zone=zone)})
