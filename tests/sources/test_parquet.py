import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clm_spark.errors import SourceError
from clm_spark.sources.source import read_rows

NOON = 1_577_880_000_123_456_789  # 2020-01-01 12:00:00.123456789


def write(file: Path, **columns: pa.Array) -> str:
    pq.write_table(pa.table(columns), file)
    return str(file)


def test_times_of_every_unit_become_iso_text(spark, tmp_path):
    nothing = None
    file = write(
        tmp_path / "log.parquet",
        **{
            "nano": pa.array([NOON, nothing], pa.timestamp("ns")),
            "nano in utc": pa.array([NOON, nothing], pa.timestamp("ns", "UTC")),
            "micro": pa.array([NOON // 1000, nothing], pa.timestamp("us")),
            "milli.utc": pa.array([NOON // 10**6, nothing], pa.timestamp("ms", "UTC")),
            "number": pa.array([NOON, nothing]),
            "n": pa.array([1, 2]),
        },
    )
    rows = read_rows(spark, [file]).orderBy("position").collect()
    assert json.loads(rows[0].record) == {
        "nano": "2020-01-01T12:00:00.123456Z",
        "nano in utc": "2020-01-01T12:00:00.123456Z",
        "micro": "2020-01-01T12:00:00.123456",
        "milli.utc": "2020-01-01T12:00:00.123000Z",
        "number": NOON,
        "n": 1,
    }
    assert json.loads(rows[1].record) == {"n": 2}
    assert abs(rows[0].arrived_at.timestamp() - Path(file).stat().st_mtime) < 1
    assert rows[0].file.endswith("log.parquet")


def test_other_files_are_refused_in_one_line(spark, tmp_path):
    good = write(tmp_path / "a.parquet", a=pa.array([1]), b=pa.array([1]))
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    (tmp_path / "empty.parquet").write_text("")
    cases = {
        "is not Parquet": [str(tmp_path / "text.parquet")],
        "is not Parquet (": [str(tmp_path / "empty.parquet")],
        "expected columns a, c, c missing, came a, b": [good],
        "z.parquet is of another format: expected columns a, b, b missing, came a": [
            good,
            write(tmp_path / "z.parquet", a=pa.array(["x"])),
        ],
    }
    for expected, files in cases.items():
        with pytest.raises(SourceError) as error:
            read_rows(spark, files, columns=(("a",), ("c",)) if "c missing" in expected else (("a",), ("b",)))
        assert expected in str(error.value)
        assert "\n" not in str(error.value)
