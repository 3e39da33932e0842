"""Encodings by their names, and what becomes of bytes that are no letters of them."""

import pytest
from pyspark.sql import functions as F

from clm_spark.sources.encodings import ENCODINGS, encoding_name, java_name, with_byte_order
from clm_spark.sources.source import list_files, read_lines, records_of, with_line_numbers
from clm_spark.sources.text import FirstLine

NO_TEXT = ("hex", "rot13", "base64", "zlib", "bz2", "quopri", "uu", "idna", "punycode", "unicode_escape", "undefined")
# Their line ends are other bytes, or Java does not know them.
UNREADABLE = ("utf-32", "utf-7", "cp037", "cp500", "hz", "koi8_t", "no such", "", "a\0b", "é", "\ud800", "x" * 10_000)


@pytest.mark.parametrize("name", [*NO_TEXT, *UNREADABLE])
def test_what_is_no_encoding_of_a_log_is_refused(name):
    with pytest.raises(ValueError, match="expected an encoding such as utf-8, utf-16, gbk, latin-1") as error:
        encoding_name(name)
    assert type(error.value) is ValueError


def test_names_of_encodings():
    names = {
        "UTF8": "utf-8", "utf-8-sig": "utf-8", "UTF-16": "utf-16", "utf_16_le": "utf-16le", "UTF-16BE": "utf-16be",
        "latin-1": "iso8859-1", "ISO-8859-15": "iso8859-15", "windows-1252": "cp1252", "macroman": "mac-roman",
        "cp936": "gbk", "Shift_JIS": "shift_jis", "ms932": "cp932", "euc-kr": "euc_kr", " gbk ": "gbk",
    }  # fmt: skip
    assert {name: encoding_name(name) for name in names} == names
    assert all(encoding_name(name) == name for name in ENCODINGS)


def test_java_reads_every_encoding_as_python_writes_it(spark):
    letters = {
        "cp932": "①女", "cp949": "똠", "cp950": "碁女", "gbk": "女装", "gb18030": "女㐀", "mac-roman": "é∑", "johab": "가",
        "big5": "女", "big5hkscs": "女", "euc_kr": "가", "euc_jp": "女", "shift_jis": "女", "iso2022_jp": "女", "gb2312": "女",
        "ascii": "", "cp874": "ก", "iso8859-11": "ก", "tis-620": "ก", "koi8-u": "ї", "iso8859-6": "ع", "cp864": "ع",
    }  # fmt: skip
    rows = []
    for name in sorted(ENCODINGS - {"utf-16"}):
        others = bytes(range(0xC0, 0x100)).decode(name, errors="ignore") if name.startswith(("cp125", "cp8")) else ""
        text = 'a;"b",|~\t' + letters.get(name, others)
        rows.append((java_name(name), text, text.encode(name)))
    cases = spark.createDataFrame(rows, "name string, text string, content binary")
    read = cases.withColumn("read", F.expr("decode(content, name)"))
    assert [(row.name, row.text, row.read) for row in read.where("read != text").collect()] == []


def test_the_order_of_bytes():
    text = "时间,a"
    assert with_byte_order("utf-16", text.encode("utf-16")) == "utf-16le"
    assert with_byte_order("utf-16", b"\xfe\xff" + text.encode("utf-16-be")) == "utf-16be"
    assert with_byte_order("utf-16", text.encode("utf-16-be")) == "utf-16be"
    assert with_byte_order("utf-16", text.encode("utf-16-le")) == "utf-16le"
    assert with_byte_order("utf-16be", "时间".encode("utf-16-be")) == "utf-16be"
    assert with_byte_order("utf-16le", b"\xfe\xff" + text.encode("utf-16-be")) == "utf-16be"
    assert with_byte_order("gbk", b"\xff\xfea") == "gbk"


def lines_of(spark, folder, encoding, header):
    """Position and text of each record, and whether it is valid."""
    files = [file.url for file in list_files(spark, str(folder), endings=(".csv",))]
    first_line = FirstLine(headers=(header,), encoding=encoding)
    rows = records_of(with_line_numbers(read_lines(spark, files, first_line=first_line)))
    valid = rows.select("position", "record", F.is_valid_utf8("record").alias("is_valid"))
    return [tuple(row) for row in valid.orderBy("position").collect()]


@pytest.mark.parametrize(
    ("encoding", "letter", "no_letter", "truly"),
    [
        ("utf-8", b"\xc3\xa9", b"\xe9", b"\xef\xbf\xbd?"),
        ("cp1252", b"\xe9", b"\x81", b"??"),
        ("gbk", b"\xa8\xa6", b"\xff", b"??"),
        ("gb18030", b"\xa8\xa6", b"\xff", b"\x841\xa47?"),
    ],
)
def test_bytes_that_are_no_letters_make_a_line_invalid(spark, tmp_path, encoding, letter, no_letter, truly):
    lines = [b"a,b", b"caf" + letter + b",1", b"caf" + no_letter + b",2", truly + b",3"]
    (tmp_path / "log.csv").write_bytes(b"\n".join(lines))
    last = "??,3" if truly == b"??" else "\ufffd?,3"
    assert lines_of(spark, tmp_path, encoding, "a,b") == [
        (2, "café,1", True),
        (3, "caf\ufffd,2", False),  # as Python shows it
        (4, last, True),
    ]


def test_half_a_letter_of_utf_16(spark, tmp_path):
    lines = ["a,b", "ü,1", "\udc00,2", "\ufffd?,3"]
    content = "\n".join(lines).encode("utf-16-le", errors="surrogatepass")
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe" + content)
    assert lines_of(spark, tmp_path, "utf-16", "a,b") == [
        (2, "ü,1", True),
        (3, "\ufffd,2", False),
        (4, "\ufffd?,3", True),
    ]
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe" + content[:-1])  # cut off
    assert lines_of(spark, tmp_path, "utf-16", "a,b")[2] == (4, "\ufffd?,\ufffd", False)


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_letters_of_utf_16_that_hold_the_bytes_of_a_line_end(spark, tmp_path, order, mark):
    header = "\u0a0d\u010a,\u0d0a"
    lines = [header, "\u0a0a\u0d0d,1", "\u0100\u0a05\u0100,2", "\u0a05\u3000\u0a05\u4e00,3", "", "\u0a0d\u0d0a,4"]
    (tmp_path / "log.csv").write_bytes((mark + "\r\n".join(lines)).encode(order))
    came = lines_of(spark, tmp_path, "utf-16", header)
    assert came == [(n + 1, line, True) for n, line in enumerate(lines) if n and line]
