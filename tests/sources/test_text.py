"""The first lines of files, and what is read by them."""

import pytest

from clm_spark.errors import SourceError
from clm_spark.sources.source import list_files, read_lines, records_of, with_line_numbers
from clm_spark.sources.text import FirstLine


def test_many_files_are_read_each_by_its_own_header(spark, tmp_path):
    usual, other = "who,price", "price,who"
    for n in range(120):
        header, line = (other, f"{n},u{n}") if n % 3 == 0 else (usual, f"u{n},{n}")
        (tmp_path / f"{n:03}.csv").write_text(f"{header}\n{line}\n")
    files = [file.url for file in list_files(spark, str(tmp_path), endings=(".csv",))]
    first_line = FirstLine(headers=(usual,), needed=(("who",), ("price",)))
    rows = records_of(with_line_numbers(read_lines(spark, files, first_line=first_line)))
    came = {(row.record, row.header, row.position) for row in rows.collect()}
    assert came == {(f"{n},u{n}", other, 2) if n % 3 == 0 else (f"u{n},{n}", None, 2) for n in range(120)}
    (tmp_path / "077.csv").write_text("when,what\n1,2\n")
    with pytest.raises(SourceError, match=r"077\.csv is of another format"):
        read_lines(spark, files, first_line=first_line)


def test_a_byte_order_mark_is_no_part_of_a_record(spark, tmp_path):
    for name, first in (("a", "u1,1"), ("b", '{"who": 1}')):
        (tmp_path / f"{name}.csv").write_text(f"\ufeff{first}\n\ufeffu2,2\n", "utf-8")
    files = [file.url for file in list_files(spark, str(tmp_path), endings=(".csv",))]
    rows = records_of(with_line_numbers(read_lines(spark, files, first_line=FirstLine(pattern=r"u\d,|\{"))))
    came = sorted((row.record, row.position) for row in rows.collect())
    assert came == [("u1,1", 1), ("u2,2", 2), ("u2,2", 2), ('{"who": 1}', 1)]


def test_lines_of_json_do_not_span(spark, tmp_path):
    (tmp_path / "log.jsonl").write_text('{"a":1,"b\n","c":2}\n')
    files = [file.url for file in list_files(spark, str(tmp_path), endings=(".jsonl",))]
    rows = read_lines(spark, files, first_line=FirstLine(pattern=r"\{", is_csv=False))
    assert records_of(with_line_numbers(rows)).count() == 2
    rows = read_lines(spark, files, first_line=FirstLine(pattern=r"\{"))
    assert records_of(with_line_numbers(rows)).count() == 1
