"""Each mistake of a user: one line that names it, exit code 2, and not a row written but in the record of runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from clm_spark import cli
from clm_spark.tables.catalog import CUSTOMER_DAYS, EVENTS, RUNS, TABLES
from clm_spark.tables.lake import Lake

CONF = str(Path(__file__).parents[1] / "conf")
Clm = Callable[..., tuple[int, str]]


@pytest.fixture
def shop(small_shop) -> Lake:
    return small_shop.lake


@pytest.fixture
def clm(shop, monkeypatch, capsys) -> Clm:
    """Call the command line on the shop's lakehouse: its exit code and what it said."""

    def call(*arguments: str, **changes: str) -> tuple[int, str]:
        place, ingest = shop.settings.lakehouse, shop.settings.ingest
        keys = {f"lakehouse.{name}": getattr(place, name) for name in ("path", "bronze", "silver", "gold", "analysts")}
        keys |= {"shop": shop.settings.shop.name, "ingest.source": ingest.source, "ingest.path": ingest.path}
        keys |= {"privacy.key_file": shop.settings.privacy.key_file, "features.panel_size": "1"}
        keys |= {name.replace("__", "."): value for name, value in changes.items()}
        sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        monkeypatch.setattr("sys.argv", ["clm", *arguments, "--conf-dir", CONF, *sets])
        monkeypatch.setattr(cli, "log_to_console", lambda: None)
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capsys.readouterr().err

    return call


def versions(lake: Lake) -> dict[str, int]:
    return {table.title: lake.version(table) for table in TABLES if lake.exists(table) and table is not RUNS}


@pytest.mark.timeout(1500)
def test_mistakes_are_one_line_and_write_nothing(clm, shop, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.csv").write_text("some,other,header\n1,2,3\n")
    (tmp_path / "strangers.csv").write_text(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2024-02-01 10:00:00 UTC,teleport,1001,7,kitchen.pan,acme,1.00,5,s\n"
    )
    (tmp_path / "picture.parquet").write_bytes(b"\x89PNG not parquet at all")
    before = versions(shop)
    ingest, features, day = ("run", "ingest_events"), ("run", "build_features"), ("--as-of", "2024-03-01")
    cases = [
        ("missing path", clm(*ingest, *day, ingest__path=str(tmp_path / "nowhere")), ["no raw data at", "ingest.path"]),
        ("empty folder", clm(*ingest, *day, ingest__path=str(tmp_path / "empty")), ["nothing to read at"]),
        ("another header", clm(*ingest, *day, ingest__path=str(tmp_path / "notes.csv")), ["some,other,header", "ingest.source"]),
        ("nothing usable", clm(*ingest, *day, ingest__path=str(tmp_path / "strangers.csv")), ["unknown_kind 1", "nothing was written"]),
        ("not parquet", clm(*ingest, *day, ingest__source="retailrocket", ingest__joins_other_sources="true", ingest__path=str(tmp_path / "picture.parquet")), ["picture.parquet"]),
        ("another source", clm(*ingest, *day, ingest__source="retailrocket", ingest__path=str(tmp_path / "picture.parquet")), ["holds events of source rees46", "retailrocket came"]),
        ("unknown source", clm(*ingest, *day, ingest__source="webshop"), ["'webshop' is unknown", "rees46"]),
        ("unknown setting", clm(*features, *day, churn__horizon="3"), ["churn.horizon is unknown"]),
        ("unknown job", clm("run", "build_rockets", *day), ["no job 'build_rockets'", "build_features"]),
        ("not a day", clm(*features, "--as-of", "soon"), ["as_of", "soon"]),
        ("before the data", clm(*features, "--as-of", "2019-01-01"), ["2019-01-01 is outside the data", "2023-12-12"]),
        ("after the data", clm(*features, "--as-of", "2031-01-01"), ["2031-01-01 is outside the data", "2024-02-29"]),
        ("another shop", clm(*ingest, *day, shop="rival"), ["another shop's data", "'rival'", "test_shop"]),
        ("no key", clm(*ingest, *day, privacy__key_file="/nowhere.key", ingest__path=str(tmp_path / "strangers.csv")), ["no pseudonym key at /nowhere.key"]),
        ("public key", clm(*ingest, *day, privacy__key_file=f"{CONF}/demo.key", ingest__path=str(tmp_path / "strangers.csv")), ["'test_shop'", "public demo key", "openssl rand"]),
        ("no such query", clm("sql", "SELECT nothing FROM nowhere"), ["the query failed", "nowhere"]),
    ]  # fmt: skip
    for name, (code, said), expected in cases:
        assert code == 2, f"{name}: {said}"
        assert [words for words in expected if words not in " ".join(said.split())] == [], f"{name}: {said}"
        assert said.count("\n") == 1, f"{name}: {said}"
        assert "Traceback" not in said
        assert "org.apache" not in said
    assert versions(shop) == before


@pytest.mark.timeout(1500)
def test_a_table_changed_by_hand_stops_the_job(clm, shop):
    good, days = shop.version(EVENTS), shop.version(CUSTOMER_DAYS)
    shop.spark.sql(f"UPDATE {shop.name(EVENTS)} SET amount_cents = 1 WHERE kind = 'purchase'")
    try:
        code, said = clm("run", "build_features", "--as-of", "2024-03-01")
        assert code == 2
        assert "silver.events was changed by hand" in said
        assert "UPDATE that clm-spark did not make" in said
        assert shop.version(CUSTOMER_DAYS) == days
    finally:
        shop.spark.sql(f"RESTORE TABLE {shop.name(EVENTS)} TO VERSION AS OF {good}")
