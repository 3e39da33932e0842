import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clm_spark.sources.source import list_files, read_lines, read_rows
from clm_spark.sources.text import FirstLine

NAMES = (
    "clicks", "my clicks", "100%", "100%25", "a+b", "clicks[1]", "clicks1", "{a,b}", "a", "*", "ab?", "Käufe", "客户", "a#b;c",
    "day=2024-02-01", "back\\slash", "a&b='c'",
)  # fmt: skip


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_file_has_one_name_whatever_stands_in_it(spark, tmp_path, ending):
    folder = tmp_path / "my [landing] 50%"
    folder.mkdir()
    for name in NAMES:
        if ending == ".csv":
            (folder / f"{name}.csv").write_text(f"record\n{name}\n", encoding="utf-8")
        else:
            pq.write_table(pa.table({"record": [name]}), folder / f"{name}.parquet")
    listed = [file.url for file in list_files(spark, str(folder), endings=(ending,))]
    if ending == ".csv":
        rows = read_lines(spark, listed, first_line=FirstLine(headers=("record",))).where("is_record")
        expected = {name: name for name in NAMES}
    else:
        rows = read_rows(spark, listed, columns=[("record",)])
        expected = {name: f'{{"record":"{name}"}}'.replace("\\", "\\\\") for name in NAMES}
    came = rows.select("file", "record").collect()
    assert sorted((row.file, row.record) for row in came) == sorted(
        (f"file:{folder}/{name}{ending}", expected[name]) for name in NAMES
    )
    assert sorted(row.file for row in came) == listed
