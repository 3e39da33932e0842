"""What is read of a folder, and what is said where it cannot be."""

import bz2
import gzip
import json
import random
import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from clm_spark.errors import SourceError
from clm_spark.inspection.as_yaml import mapping_yaml
from clm_spark.inspection.beginning import beginning
from clm_spark.inspection.draft import draft_of
from clm_spark.inspection.sample import MOST_FILES, MOST_RECORDS, _of_text, read_sample

LINES = "when,who,what\n2024-01-01,u1,view\n2024-01-02,u2,view\n"


@pytest.fixture
def read(spark, tmp_path):
    """Reads a log of these files."""

    def read_files(**contents: bytes | str):
        for name, content in contents.items():
            file = tmp_path / name.replace("__", ".")
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_sample(spark, str(tmp_path))

    return read_files


def test_packed_files_are_unpacked(read):
    sample = read(a__csv__gz=gzip.compress(LINES.encode()), b__csv__bz2=bz2.compress(LINES.encode()), c__csv=LINES)
    assert (sample.format, sample.num_files, len(sample.records), sample.endings) == ("csv", 3, 6, ())


def test_files_of_another_kind_are_left_out_and_named(read):
    sample = read(A__txt="Read me first.\n", b__csv=LINES * 9, c__jsonl='{"a": 1}\n', d__csv=LINES)
    assert [url.rsplit("/", 1)[-1] for url in sample.files] == ["b.csv", "d.csv"]
    assert sample.endings == (".csv", ".csv.gz", ".csv.bz2")
    assert sample.open_questions == (
        "A.txt and 1 more are left out: a mapping reads files of one kind, and most are .csv",
    )


def test_files_without_a_column_in_common_are_left_out_and_named(read):
    sample = read(a__csv=LINES, b__csv="x,y\n1,2\n", c__csv="who,total\nu1,5\n")
    assert [url.rsplit("/", 1)[-1] for url in sample.files] == ["a.csv", "c.csv"]
    assert sample.other_columns == (("who", "total"),)
    assert sample.open_questions[0].startswith("b.csv has no column of a.csv, and a run refuses them together")


def test_json_under_another_ending_is_json(read):
    sample = read(log__txt='{"user": {"id": 1}, "price": "2.50", "paid": 2.50}\nno object\n')
    assert (sample.format, sample.endings, sample.columns) == (
        "jsonl",
        (".txt", ".txt.gz"),
        ("user.id", "price", "paid"),
    )
    assert sample.number_columns == {"user.id", "paid"}
    assert sample.open_questions == ("1 of 2 lines are no JSON object: they are rejected as unparsable",)


def test_of_many_files_the_first_and_the_last_are_looked_at(read):
    sample = read(**{f"{number:02}__csv": f"when,who\n2024-01-01,u{number}\n" for number in range(20)})
    assert (len(sample.files), sample.num_files) == (MOST_FILES, 20)
    assert [record["who"] for record in sample.records] == ["u0", "u1", "u2", "u17", "u18", "u19"]


def test_a_sample_is_of_all_of_the_beginning(read):
    rows = [f"2024-01-01,u{number}" for number in range(MOST_RECORDS * 3)]
    sample = read(a__csv="\n".join(["when,who", *rows]))
    assert len(sample.records) == MOST_RECORDS
    assert sample.records[-1]["who"] == f"u{MOST_RECORDS * 3 - 3}"


ENCODED = [  # a log, how it is written, and what a mapping says of it
    ("时间,用户\n2024-01-01,用户甲\n2024-01-02,用户乙\n", "utf-8-sig", "utf-8"),
    ("时间,用户\n2024-01-01,用户甲\n2024-01-02,用户乙\n", "gbk", "gbk"),
    ("时间,用户\n2024-01-01,用户甲\n2024-01-02,用户乙\n", "utf-16", "utf-16"),
    (LINES, "utf-16-le", "utf-16"),
    (LINES, "utf-16-be", "utf-16"),
    ("商品,价格\n苹果,5\n", "gbk", "gbk"),
    (LINES + "2024-01-03,Jörg,view\n", "cp1252", "cp1252"),
    ("wann;wer\nKäufer;Größe\n", "cp1252", "cp1252"),
    ("kdy;kdo\nřeka;Žluťoučký kůň\n", "cp1250", "cp1250"),
    ("когда;кто\nдни;пиццы\n", "cp1251", "cp1251"),
]


def test_encodings_are_found():
    came = [beginning("file:/log/a.csv", text.encode(python)) for text, python, _ in ENCODED]
    assert [(file.text, file.encoding) for file in came] == [(text, encoding) for text, _, encoding in ENCODED]


def test_a_file_that_is_ascii_alone_leaves_the_encoding_to_the_others(read):
    assert read(a__csv=LINES, b__csv=(LINES + "2024-01-03,Jörg,view\n").encode("cp1252")).encoding == "cp1252"


def test_files_of_two_encodings_are_named(read):
    german = LINES + "2024-01-03,Jörg Müller,gesehen\n" * 9
    sample = read(a__csv=german, b__csv=german.encode("cp1252"))
    assert sample.open_questions == ("the files are written in utf-8 and cp1252: a mapping reads one encoding",)


def test_members_are_at_most_so_many(read):
    line = json.dumps({"when": "2024-01-01"} | {str(number): number for number in range(1_000)})
    assert len(read(a__jsonl=f'{line}\n{{"when": "2024-01-01"}}\n').columns) == 500


def test_parquet_is_read_by_its_types_and_of_every_file(spark, tmp_path):
    for name, columns in (
        ("a", "'1.299' AS price, 1.5D AS paid, named_struct('id', 1) AS user"),
        ("b", "'2' AS unit_price"),
    ):
        spark.sql(f"SELECT {columns}").coalesce(1).write.parquet(str(tmp_path / name))
    sample = read_sample(spark, str(tmp_path))
    assert sample.columns == ("price", "paid", "user.id", "unit_price")
    assert sample.usual_columns == ("price", "paid", "user.id")
    assert sample.number_columns == {"paid", "user.id"}
    assert sample.other_columns == (("unit_price",),)


noise = random.Random(0).randbytes
BROKEN = {  # the files, and what is said
    "no line": ({"a__csv": "\n \r\n"}, "has no line: expected records"),
    "nothing packed": ({"a__csv__gz": gzip.compress(b"")}, "has no line: expected records"),
    "a header alone": ({"a__csv": "when,who\n"}, "has no record: expected lines of the columns 'when, who'"),
    "cut off": ({"a__csv__gz": gzip.compress(noise(50_000))[:20_000]}, "cannot be read to its end"),
    "not packed": ({"a__csv__gz": LINES}, "cannot be unpacked"),
    "one line": ({"a__json": '{"a": "' + "x" * 300_000}, "has no line end in its first 262,144 bytes"),
    "an array": ({"a__json": '[\n {"a": 1}\n]\n'}, "is one array of JSON: expected an object a line"),
    "no JSON": ({"a__jsonl": LINES}, "is not JSON: expected an object a line"),
    "no separator": ({"a__txt": "1 2 3\n4 5 6\n"}, "neither comma, semicolon, tab nor | cuts most lines"),
    "NUL": ({"a__csv": b"\0\0\0\n\0\0\n"}, "neither comma, semicolon, tab nor | cuts most lines"),
    "no Parquet": ({"a__parquet": LINES}, "is not Parquet"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_one_line(read, case):
    files, message = BROKEN[case]
    with pytest.raises(SourceError, match=re.escape(message)) as refused:
        read(**files)
    assert "\n" not in str(refused.value)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(lambda text: f"when,who\n{text}".encode())))
@example(b"\xff\xfe\x00")
@example(b'a,b\n1,"\r2\r\n"3')
@example(b"a,a,,A\n1,2,3,4\n")
@example(b'{"a": {"a": [{}]}}\n{"a": "\\ud800"}\n{}')
def test_any_bytes_are_drafted_or_refused_in_one_line(content):
    found = beginning("file:/log/a.csv", content)
    assume(found.text.strip())
    message = ""
    try:
        sample = _of_text(".csv", [found])
        mapping_yaml(sample, draft_of(sample))
    except SourceError as error:
        message = str(error)
    assert "\n" not in message


def test_parquet_that_is_broken_inside_is_one_line(spark, tmp_path):
    spark.range(50_000).selectExpr("uuid() AS id").coalesce(1).write.parquet(str(tmp_path / "log"))
    (file,) = (tmp_path / "log").glob("*.parquet")
    content = bytearray(file.read_bytes())
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    file.write_bytes(content)
    file.with_name(f".{file.name}.crc").unlink()
    with pytest.raises(SourceError, match=r"cannot be read as Parquet: [^\n]+; restore it$"):
        read_sample(spark, str(tmp_path))
