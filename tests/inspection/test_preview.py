"""What is printed of a log, what is written, and that the mapping written reads the log."""

import io

import pytest
import yaml
from ingesting import ingest
from rich.console import Console

from clm_spark.errors import SettingsError
from clm_spark.inspection.preview import inspect_log
from clm_spark.settings import IngestSettings
from clm_spark.sources import open_source

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
ORDERS = [
    HEADER,
    "536365,85123A,WHITE HANGING HEART,6,12/1/2010 8:26,2.55,17850.0,United Kingdom",
    "536366,22633,HAND WARMER,6,12/13/2010 8:28,1.85,17850.0,United Kingdom",
    "536367,84879,BIRD ORNAMENT,32,12/13/2010 8:34,1.69,13047.0,United Kingdom",
    "C536379,D,Discount,-1,12/14/2010 9:41,27.50,14527.0,United Kingdom",
    *(f"53{n},71053,LANTERN,6,12/14/2010 9:4{n % 10},3.39,{13000 + n % 5}.0,France" for n in range(6400, 6420)),
    *(f"53641{n},22139,,56,12/14/2010 11:52,0.0,,United Kingdom" for n in range(8)),
]


def written(tmp_path, name: str, lines: list[str], encoding: str = "utf-8"):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "log.csv").write_bytes("\n".join(lines).encode(encoding))
    return folder


def inspected(spark, folder, file) -> str:
    """What is printed."""
    console = Console(record=True, width=100, file=io.StringIO())
    inspect_log(spark, str(folder), console, write_to=file)
    return console.export_text()


def test_orders_with_guests_and_returns_are_read_by_their_draft(spark, tmp_path):
    folder, file = written(tmp_path, "orders", ORDERS), tmp_path / "orders.yml"
    text = inspected(spark, folder, file)
    assert yaml.safe_load(file.read_text()) == {
        "format": "csv",
        "header": HEADER,
        "time_format": "M/d/yyyy H:mm",
        "fields": {
            "occurred_at": "InvoiceDate",
            "customer_id": "CustomerID",
            "item_id": "StockCode",
            "order_id": "InvoiceNo",
            "quantity": "Quantity",
            "price": "UnitPrice",
        },
        "kind": "case when Quantity < 0 then 'refund' else 'purchase' end",
        "attributes": {"description": "Description", "country": "Country"},
    }
    assert "24 of the first 32 records are events" in text
    assert "rejected: missing_customer 8\nmissing_customer: log.csv line 26 is '536410,22139" in text
    assert "undecided: what to do with the 25% of the records that name no customer" in text
    assert not {"17850", "13047", "536365"} & set(file.read_text().replace(",", " ").split())
    source = open_source(IngestSettings(source="mapping", mapping=str(file)))
    ingested = ingest(spark, source, folder)
    assert (ingested.kinds, ingested.reasons) == ({"purchase": 23, "refund": 1}, {"missing_customer": 8})
    with pytest.raises(SettingsError, match=r"orders\.yml is there already"):
        inspected(spark, folder, file)


def test_separator_encoding_and_kinds_are_found(spark, tmp_path):
    lines = [
        "wann;wer;was;artikel;preis",
        *(f"0{n}.02.2024 10:00;Käufer{n};Kauf;Größe;1.2{n}9,50" for n in range(1, 9)),
    ]
    folder = written(tmp_path, "german", [*lines, "09.02.2024 10:00;Käufer9;gucken;x;5,00"], "cp1252")
    file = tmp_path / "german.yml"
    assert "undecided: what these words of was mean: gucken (1)" in inspected(spark, folder, file)
    keys = yaml.safe_load(file.read_text())
    assert [keys[name] for name in ("separator", "decimal", "thousands", "kinds")] == [
        ";",
        ",",
        ".",
        {"Kauf": "purchase"},
    ]
    source = open_source(IngestSettings(source="mapping", mapping=str(file)))
    rows = ingest(spark, source, folder).kept.select("item_id", "amount_cents").collect()
    assert sorted(map(tuple, rows)) == [("Größe", 100 * (1_209 + 10 * n) + 50) for n in range(1, 9)]


def test_values_are_shown_as_they_are_and_command_nothing(spark, tmp_path):
    lines = ["when,who,sku,kind", "2024-01-01,u1,[red]x\x1b[31m,view", "2024-01-02,u2,[/red],view"]
    text = inspected(spark, written(tmp_path, "odd", lines), None)
    assert r"[red]x\x1b[31m" in text
    assert "[/red]" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_names_that_look_like_sql_are_read_by_their_draft(spark, tmp_path):
    folder = tmp_path / "json"
    folder.mkdir()
    line = '{{"ts": 17092080{0:02}, "who": {{"user-id": "u{0}"}}, "event": "Purchase", "net price (EUR)": "{1}"}}\n'
    (folder / "log.jsonl").write_text("".join(line.format(n, f"1.{n}99,5{n % 10}") for n in range(10)))
    file = tmp_path / "json.yml"
    assert "10 of the first 10 records are events" in inspected(spark, folder, file)
    keys = yaml.safe_load(file.read_text())
    assert keys["fields"]["price"] == "`net price (EUR)` + 0"
    source = open_source(IngestSettings(source="mapping", mapping=str(file)))
    rows = ingest(spark, source, folder).kept.select("amount_cents").collect()
    assert sorted(row[0] for row in rows) == [100 * (1_099 + 100 * n) + 50 + n for n in range(10)]


def test_a_draft_that_lacks_the_customer_says_so_and_shows_no_event(spark, tmp_path):
    text = inspected(spark, written(tmp_path, "no_customer", ["day,sku", "2024-01-01,a"]), tmp_path / "draft.yml")
    assert "undecided: no column was found to be the customer (day, sku)" in text
    assert "records are events" not in text
    assert "does not read" not in text
    assert "# UNDECIDED: no column was found to be the customer" in (tmp_path / "draft.yml").read_text()


def test_a_file_that_cannot_be_written_is_one_line(spark, tmp_path):
    with pytest.raises(SettingsError, match="there is no folder"):
        inspected(spark, tmp_path, tmp_path / "none" / "draft.yml")
    folder = written(tmp_path, "log", ["day,sku", "2024-01-01,a"])
    with pytest.raises(SettingsError, match="cannot be written"):
        inspected(spark, folder, tmp_path / ("x" * 300))
