"""Whatever stands in a file, every record of it is an event, rejected or a duplicate, and exactly one of the three."""

import json
import re

import yaml
from ingesting import ingest
from pyspark.sql import functions as F

from clm_spark.sources.mapped import MappedSource
from clm_spark.sources.mapping import read_mapping

COLUMNS = ("customer_id", "occurred_at", "kind", "item_id", "quantity", "price", "amount", "order_id", "known_at")
GOOD = dict(
    zip(COLUMNS, (b"c1", b"2024-02-01T10:00:00Z", b"purchase", b"i1", b"2", b"9.99", b"", b"o1", b""), strict=True)
)
NASTY = [
    *(b"", b" ", b"\t", b"\x00", b"a\x00b", b"\x1f", b"\x1b[31m", b"\x7f"),
    *(b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"caf\xe9", b"\xef\xbb\xbf", b"\xf8\x88\x80\x80\x80"),
    *('"', '""', '"open', 'a"b', '"a""b"', '"a, b"', '"line\nbreak"', "line\rbreak", "a,b", ";", "a;b;c", "\\", "\\n"),
    *("NaN", "Infinity", "-Infinity", "1e400", "9" * 400, "-1", "-0", "0x10", "1.2.3", "1,5", "1e-30", "٣", "12"),
    *("null", "NULL", "true", '{"a": {"b": [1, 2]}}', "[1, 2", "{", "now", "2024-02-30", "1970-01-01", "99999-01-01"),
    *("2024-02-01", "12:00", "1706781600", "😀", "\u202e", "e\u0301", "'; DROP TABLE events; --", "=1+1"),
    *("x" * 100_000, "x" * 1_100_000),
]  # fmt: skip
VALUES = [value.encode() if isinstance(value, str) else value for value in NASTY]


def lines_in(content: bytes) -> int:
    """How many records Hadoop's line reader makes of it: any of the three line ends parts them, blanks are none."""
    return sum(1 for line in re.split(rb"\r\n|\n|\r", content) if line.strip(b" "))


def mapped(tmp_path, form: str) -> MappedSource:
    file = tmp_path / f"{form}.yml"
    header = {"header": ",".join(COLUMNS)} if form == "csv" else {}
    file.write_text(
        yaml.safe_dump(
            {"format": form, "identical_records": "one", "fields": {name: name for name in COLUMNS}, **header}
        )
    )
    return MappedSource(read_mapping(str(file)), name=form)


def check(ingested, content: bytes, *, num_others: int) -> None:
    assert ingested.num_read == lines_in(content) - num_others > 300
    assert ingested.is_whole
    places = ingested.typed.groupBy("file", "position").agg(
        F.count("*").alias("rows"), F.count_if(F.col("reason").isNull() & F.col("event_id").isNull()).alias("neither")
    )
    assert places.where("rows > 1 OR neither > 0").count() == 0
    texts = [name for name, kind in ingested.kept.dtypes if kind == "string"]
    broken = [F.count_if(~F.is_valid_utf8(name)).alias(name) for name in texts]
    assert set(ingested.kept.select(*broken).head()) == {0}, "what is not UTF-8 would keep other readers out of silver"
    lost = ingested.kept.where("occurred_at < '1995-01-01' OR occurred_at > '2100-01-01' OR price_cents < 0")
    assert lost.count() == 0


def test_no_csv_line_is_lost(spark, tmp_path):
    lines = [b",".join({**GOOD, name: value}.values()) for name in COLUMNS for value in VALUES]
    lines += [
        b"",
        b"   ",
        b",",
        b"," * 8,
        b"," * 40,
        b"\xef\xbb\xbf" + lines[0],
        b";".join(GOOD.values()),
        b"x" * 2_000_000,
    ]
    content = b"\n".join([",".join(COLUMNS).encode(), *lines])
    (tmp_path / "log.csv").write_bytes(content)
    ingested = ingest(spark, mapped(tmp_path, "csv"), tmp_path)
    check(ingested, content, num_others=1 + len(COLUMNS))  # the header, and the ends of quotes that span two lines
    assert {"too_large", "wrong_encoding", "unparsable", "bad_number", "negative_quantity"} <= set(ingested.reasons)
    assert ingested.reasons["too_large"] == len(COLUMNS) + 1
    assert ingested.num_duplicates > 0


def test_no_json_line_is_lost(spark, tmp_path):
    words = {name: json.dumps(value.decode()).encode() for name, value in GOOD.items()}
    records = []
    for name in COLUMNS:
        for value in VALUES:
            said = json.dumps(value.decode(errors="replace")).encode()
            for spelt in (said, b'"' + value + b'"', value):
                cells = {**words, name: spelt}
                records.append(
                    b"{" + b", ".join(b'"' + key.encode() + b'": ' + cell for key, cell in cells.items()) + b"}"
                )
    whole = b"{" + b", ".join(b'"' + key.encode() + b'": ' + cell for key, cell in words.items()) + b"}"
    records = [
        whole,
        *records,
        b"[]",
        b"{}",
        b"[" + whole + b"]",
        whole + whole,
        whole[:-1],
        b"null",
        b"7",
        b"{" * 5000,
    ]
    content = b"\n".join(records)
    (tmp_path / "log.jsonl").write_bytes(content)
    ingested = ingest(spark, mapped(tmp_path, "jsonl"), tmp_path)
    check(ingested, content, num_others=0)
    assert {"too_large", "wrong_encoding", "unparsable"} <= set(ingested.reasons)
