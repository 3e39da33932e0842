"""Records that span lines: which lines belong together, whatever the file is written in and wherever Spark cuts it."""

import gzip
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ingesting import ingest
from pyspark.sql import functions as F

from clm_spark.settings import IngestSettings
from clm_spark.sources import open_source
from clm_spark.sources.source import list_files, read_lines, records_of, with_line_numbers
from clm_spark.sources.spanning import MOST_BYTES, MOST_LINES, _open_at_end, _stays_open, left_open
from clm_spark.sources.text import FirstLine, csv_record

HEADER = "who,note,price"
# The lines of a file behind its header, and its records: how many lines each has, where more than one.
CASES = {
    "one line each": (["u1,a,1", 'u2,"b, b",2', 'u3,"5"" pipe",3', 'u4,5" pipe,4'], {}),
    "line breaks in quotes": (["u1,a,1", 'u2,"first', "second", 'third",2', "u3,c,3"], {1: 3}),
    "blank lines, headers and quotes in quotes": (['u1,"say ""hi', "", HEADER, '""bye"" now",1', "u2,b,2"], {0: 4}),
    "in the first and the last column": (['"u', '1",a,1', 'u2,b,"2', '"', "u3,c,3"], {0: 2, 2: 2}),
    "several in one record": (['u1,"a', 'b","1', '2"', 'u2,"c', 'd",2'], {0: 3, 3: 2}),
    "a quote that ends with a separator": (['u1,"a,",1', 'u2,"b,', ',",2'], {1: 2}),
    "never closed": (['u1,"a,1', "u2,b,2", 'u3,"c",3', 'u4,"d', 'e",4', 'u5,f,"5'], {3: 2}),
    "never closed in a quoted log": (['"u1","a,1', '"u2","b","2"', '"u3","","3', '"u4","c","4"'], {}),
    "closed inside a cell": (['u1,"a', 'b"c,1', 'u2,"d', 'e" ,2', "u3,f,3"], {}),
    "of as many lines as may be": (['u1,"a', *["b"] * (MOST_LINES - 2), 'c",1', "u2,d,2"], {0: MOST_LINES}),
    "of a line more": (['u1,"a', *["b"] * (MOST_LINES - 1), 'c",1', "u2,d,2"], {}),
    "of too many bytes": (['u1,"a', "b" * MOST_BYTES, 'c",1', "u2,d,2"], {}),
}
BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"
SPLIT = "spark.sql.files.maxPartitionBytes"


def expected(lines, lengths):
    """Position and text of each record."""
    at, found = 0, []
    while at < len(lines):
        length = lengths.get(at, 1)
        record = "\n".join(lines[at : at + length])
        if record and record != HEADER:
            found.append((at + 2, record))
        at += length
    return found


def records(spark, folder, *, encoding="utf-8", separator=","):
    """Position and text of each record by the name of its file, without the ending."""
    files = [file.url for file in list_files(spark, str(folder), endings=(".csv", ".csv.gz"))]
    first_line = FirstLine(headers=(HEADER.replace(",", separator),), encoding=encoding, separator=separator)
    rows = records_of(with_line_numbers(read_lines(spark, files, first_line=first_line)))
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rows.orderBy("file", "position").select("file", "position", "record").collect():
        name = re.sub(r"\.csv(\.gz)?$", "", row.file.rsplit("/", 1)[-1])
        found.setdefault(name, []).append((row.position, row.record))
    return found


@pytest.fixture
def conf(spark):
    """Sets Spark's settings until the test is over."""
    changed = {key: spark.conf.get(key) for key in (BATCH, SPLIT)}
    yield spark.conf.set
    for key, value in changed.items():
        spark.conf.set(key, value)


@pytest.mark.parametrize("written", ["plain", "packed", "with carriage returns", "in many blocks"])
def test_a_record_is_read_once_at_its_first_line(spark, tmp_path, conf, written):
    conf(BATCH, 3)  # lines that Python sees at once
    if written == "in many blocks":
        conf(SPLIT, 16)
    cases = (
        CASES
        if written != "in many blocks"
        else {name: case for name, case in CASES.items() if sum(map(len, case[0])) < 200}
    )
    newline = "\r\n" if written == "with carriage returns" else "\n"
    for name, (lines, _) in cases.items():
        content = newline.join([HEADER, *lines, ""]).encode()
        packed = written == "packed"
        file = tmp_path / (f"{name}.csv.gz" if packed else f"{name}.csv")
        file.write_bytes(gzip.compress(content) if packed else content)
    came = records(spark, tmp_path)
    for name, case in cases.items():
        assert came[name] == expected(*case), name
    assert len(came) == len(cases)


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-be", "gbk", "latin-1", "mac-roman", "windows-1252"]
)
def test_in_every_encoding(spark, tmp_path, encoding):
    lines = ['é,"ü', "", 'é",1', 'u2,"open,2', 'u3,"ü",3']
    (tmp_path / "log.csv").write_bytes("\r\n".join([HEADER, *lines]).encode(encoding))
    told = {"utf-8-sig": "utf-8", "utf-16-be": "utf-16", "latin-1": "iso8859-1", "windows-1252": "cp1252"}
    came = records(spark, tmp_path, encoding=told.get(encoding, encoding))
    assert came == {"log": [(2, 'é,"ü\n\né",1'), (5, 'u2,"open,2'), (6, 'u3,"ü",3')]}


def test_by_any_separator(spark, tmp_path):
    for separator in ";\t|^":
        (tmp_path / "log.csv").write_text('who,note,price\nu1,"a\n,b",1\nu2,"c",2\n'.replace(",", separator))
        found = [(2, 'u1,"a\n,b",1'), (4, 'u2,"c",2')]
        came = records(spark, tmp_path, separator=separator)["log"]
        assert came == [(position, record.replace(",", separator)) for position, record in found], separator


def test_events_of_records_that_span_lines(spark, tmp_path):
    header = "when,who,sku,price,note"
    lines = [
        "2024-01-10 10:00:00,u1,a,1.00,fine",
        '2024-01-10 10:00:00,u2,b,2.00,"line one',
        "2024-01-10 10:00:00,nobody,x,9.00,not a record",
        'line three"',
        '2024-01-10 10:00:00,u3,c,4.00,"never closed',
        '2024-01-10 10:00:00,u4,"d',
        'e",8.00,fine',
        "2024-01-10 10:00:00,u5,f,bad,fine",
    ]
    (tmp_path / "log.csv").write_text("\n".join([header, *lines]))
    fields = {"occurred_at": "when", "customer_id": "who", "item_id": "sku", "price": "price"}
    mapping = {"format": "csv", "header": header, "kind": "purchase", "fields": fields, "attributes": {"note": "note"}}
    (tmp_path / "shop.yml").write_text(yaml.safe_dump(mapping))
    source = open_source(IngestSettings(source="mapping", mapping=str(tmp_path / "shop.yml")))
    ingested = ingest(spark, source, tmp_path)
    assert (ingested.num_read, ingested.num_kept, ingested.is_whole) == (5, 3, True)
    kept = ingested.kept.select("item_id", "amount_cents", "attributes.note").orderBy("item_id").collect()
    assert [tuple(row) for row in kept] == [
        ("a", 100, "fine"),
        ("b", 200, f"line one\n{lines[2]}\nline three"),
        ("d\ne", 800, "fine"),
    ]
    rejected = ingested.typed.where("reason IS NOT NULL").select("position", "reason").orderBy("position").collect()
    assert [tuple(row) for row in rejected] == [(6, "unparsable"), (9, "bad_number")]


def test_an_open_quote_is_no_record_in_whichever_column(spark):
    cases = [  # a line, and whether it has three columns
        ("a,b,c", True), ('a,b,"c"', True), ('a,b,"c', False), ('a,"b,c', False), ('"a,b,c', False), ('a,b,"', False),
        ('a,b,"c""', False), ('a,b,"c"""', True), ('a,b,c"', True), ('"a,",b,c', True), ('a,b,"c\nd"', True),
        ('a,b,"c\nd', False), ('a,"b"x,"c"', True), ('a,"",""', True), ('a,b,5"', True), ('5",",",c', True),
    ]  # fmt: skip
    rows = spark.createDataFrame(cases, "record string, expected boolean")
    came = rows.withColumn("came", csv_record(("x", "y", "z"))["_corrupt"].isNull())
    assert [row.record for row in came.where("came != expected").collect()] == []


def ends_inside_quotes(line: str, separator: str, *, begins_inside: bool = False) -> bool:
    """As Python's `csv` goes from letter to letter."""
    state = "quoted" if begins_inside else "start"
    for letter in line:
        if state == "quoted":
            state = "quote" if letter == '"' else "quoted"
        elif letter == '"' and state in ("start", "quote"):
            state = "quoted"
        else:
            state = "start" if letter == separator else "plain"
    return state == "quoted"


pieces = st.lists(st.sampled_from(['"', '"', '""', "a", " ", ",", ',"', '",']), max_size=12).map("".join)


@settings(max_examples=500, deadline=None)
@given(pieces)
def test_lines_are_left_open_as_python_reads_them(line):
    assert (re.match(_open_at_end(","), line) is not None) == ends_inside_quotes(line, ",")
    goes_on = _stays_open(line, ",")
    assert goes_on in (None, ends_inside_quotes(line, ",", begins_inside=True))


def test_spark_finds_the_lines_that_python_finds(spark):
    letters = ('"', ",", "a")
    lines = [""]
    for _ in range(6):
        lines += [line + letter for line in lines[-(3 ** (len(lines[-1]))) :] for letter in letters]
    lines += ["a," * 100_000 + '"', '"' + '""' * 100_000, '"' + '""' * 100_000 + '"']
    cases = [(line, ends_inside_quotes(line, ",")) for line in lines]
    rows = spark.createDataFrame(cases, "record string, expected boolean")
    came = rows.where(left_open(F.col("record"), ",") != F.col("expected"))
    assert [row.record[:20] for row in came.collect()] == []
    assert len(lines) == 1 + 3 + 9 + 27 + 81 + 243 + 729 + 3
