"""What `clm inspect` makes of logs as shops have them."""

import gzip
import io
import json

import pytest
import yaml
from ingesting import ingest
from rich.console import Console

from clm_spark.errors import SettingsError, SourceError
from clm_spark.inspection.columns import columns_of, number_signs
from clm_spark.inspection.draft import draft_of
from clm_spark.inspection.preview import inspect_log
from clm_spark.inspection.sample import Sample, read_sample
from clm_spark.settings import IngestSettings
from clm_spark.sources import open_source

SIGNS = [  # numbers, decimal sign, sign of thousands, whether that is asked
    (["5.00", "12"], None, None, False),
    (["5,00", "12"], ",", None, False),
    (["1.299,00", "5,00"], ",", ".", False),
    (["$1,299.00"], ".", ",", False),
    (["1.299", "12.499"], None, None, True),
    (["1.299", "5.5"], ".", None, False),
    (["12", "7"], None, None, False),
]
TIMES = [
    (["2024-02-29 12:00", "2024-03-01"], ["iso"]),
    (["1709208000", "1709208000.5", "1.7092E9"], ["epoch_s"]),
    (["1709208000000"], ["epoch_ms"]),
    (["45351.5", "45352"], ["spreadsheet"]),
    (["1/2/2024 8:00", "13/2/2024 18:30"], ["d/M/yyyy H:mm"]),
    (["1/2/2024 8:00", "2/13/2024 18:30"], ["M/d/yyyy H:mm"]),
    (["1/2/2024", "2/3/2024"], ["d/M/yyyy", "M/d/yyyy"]),
    (["29.02.2024 12:00:05"], ["d.M.yyyy H:mm:ss"]),
    (["2/29/2024 1:05 PM"], ["M/d/yyyy h:mm a"]),
    (["2024-01-10 20"], ["yyyy-M-d H"]),
    (["20240229"], ["yyyyMMdd"]),
    (["noon"], []),
]
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
ONLINE_RETAIL = [
    HEADER,
    "536365,85123A,WHITE HANGING HEART,6,12/1/2010 8:26,2.55,17850.0,United Kingdom",
    "536366,22633,HAND WARMER,6,12/13/2010 8:28,1.85,17850.0,United Kingdom",
    "536367,84879,BIRD ORNAMENT,32,12/13/2010 8:34,1.69,13047.0,United Kingdom",
    "C536379,D,Discount,-1,12/14/2010 9:41,27.50,14527.0,United Kingdom",
    *(f"53{n},71053,LANTERN,6,12/14/2010 9:4{n % 10},3.39,{13000 + n % 5}.0,France" for n in range(6400, 6420)),
    "536414,22139,,56,12/14/2010 11:52,0.0,,United Kingdom",
]


def test_signs_of_numbers():
    for values, decimal, thousands, is_asked in SIGNS:
        came = number_signs(values)
        assert (*came[:2], bool(came[2])) == (decimal, thousands, is_asked), values


def test_formats_of_times():
    for values, expected in TIMES:
        column = columns_of([{"t": value} for value in values], ["t"])["t"]
        assert list(column.time_formats) == expected, values


def written(tmp_path, name: str, lines: list[str], encoding: str = "utf-8"):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "log.csv").write_bytes("\n".join(lines).encode(encoding))
    return folder


def shown(spark, folder, tmp_path) -> tuple[str, object]:
    """What is printed, and the source that the written mapping gives."""
    file = tmp_path / f"{folder.name}.yml"
    console = Console(record=True, width=200, file=io.StringIO())
    inspect_log(spark, str(folder), console, write_to=file)
    return console.export_text(), open_source(IngestSettings(source="mapping", mapping=str(file)))


def test_online_retail_is_read_by_its_draft(spark, tmp_path):
    folder = written(tmp_path, "retail", ONLINE_RETAIL)
    text, source = shown(spark, folder, tmp_path)
    assert yaml.safe_load((tmp_path / "retail.yml").read_text()) == {
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
    assert "24 of the first records are events" in text
    assert "rejected: missing_customer 1: missing_customer: log.csv line 26 is '536414,22139" in text
    assert "undecided" not in text
    ingested = ingest(spark, source, folder)
    assert (ingested.kinds, ingested.reasons) == ({"purchase": 23, "refund": 1}, {"missing_customer": 1})
    with pytest.raises(SettingsError, match=r"retail\.yml is there already"):
        shown(spark, folder, tmp_path)


def test_separator_encoding_and_kinds_are_found(spark, tmp_path):
    lines = [
        "wann;wer;was;artikel;preis",
        *(f"0{n}.02.2024 10:00;Käufer{n};Kauf;Größe;1.2{n}9,50" for n in range(1, 9)),
    ]
    folder = written(tmp_path, "german", [*lines, "09.02.2024 10:00;Käufer9;gucken;x;5,00"], "cp1252")
    text, source = shown(spark, folder, tmp_path)
    keys = yaml.safe_load((tmp_path / "german.yml").read_text())
    assert (keys["separator"], keys["decimal"], keys["thousands"], keys["kinds"]) == (
        ";",
        ",",
        ".",
        {"Kauf": "purchase"},
    )
    assert "undecided: what these words of was mean: gucken (1)" in text
    rows = ingest(spark, source, folder).kept.select("item_id", "amount_cents").collect()
    assert sorted(map(tuple, rows)) == [("Größe", 100 * (1_209 + 10 * n) + 50) for n in range(1, 9)]


def test_json_and_parquet_and_packed_files_are_looked_at(spark, tmp_path):
    objects = [
        {"user": {"id": n % 2, "email": "a@b.c"}, "ts": 1709208000 + n, "event": "addToCart", "sku": "a"}
        for n in range(4)
    ]
    folder = tmp_path / "json"
    folder.mkdir()
    (folder / "log.json.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, objects)).encode()))
    sample = read_sample(spark, str(folder))
    assert (sample.format, len(sample.records)) == ("jsonl", 4)
    draft = draft_of(sample)
    assert draft.fields == {"occurred_at": "ts", "customer_id": "user.id", "item_id": "sku", "kind": "event"}
    assert (draft.keys["time_format"], draft.keys["kinds"]) == ("epoch_s", {"addToCart": "cart"})
    assert draft.keys["ignored"] == ["user.email"]


def test_what_cannot_be_told_is_asked():
    records = tuple({"a": "x", "b": str(n)} for n in range(3))
    draft = draft_of(Sample("csv", ("log.csv",), 1, ("a", "b"), records, header="a,b"))
    assert len(draft.open_questions) == 2
    assert "no column was found to be a time (a, b)" in draft.open_questions[0]
    two = tuple({"date": "1/2/2024", "user": "u", "client": "c"} for _ in range(3))
    questions = draft_of(Sample("csv", ("log.csv",), 1, ("date", "user", "client"), two, header="date,user,client"))
    assert any("may be d/M/yyyy or M/d/yyyy" in question for question in questions.open_questions)
    assert any("customer_id is user, or client" in question for question in questions.open_questions)


def test_nothing_to_look_at_is_one_line(spark, tmp_path):
    with pytest.raises(SourceError, match="no raw data"):
        read_sample(spark, str(tmp_path / "none"))
    with pytest.raises(SourceError, match=r"has no line|nothing to read"):
        read_sample(spark, str(written(tmp_path, "empty", ["", ""])))
