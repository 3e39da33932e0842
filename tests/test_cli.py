import pytest
from typer.testing import CliRunner

from clm_spark import cli
from clm_spark.errors import SettingsError
from clm_spark.pipeline import JOBS


def test_the_list_of_jobs_cuts_no_name():
    printed = CliRunner().invoke(cli.app, ["jobs"], env={"COLUMNS": "80"}).output
    names = {name for job in JOBS for name in (job.name, *job.inputs, *job.outputs)}
    assert [name for name in names if name not in printed] == []
    assert len(printed.splitlines()) > len(JOBS)


def test_a_query_may_be_a_file(tmp_path):
    file = tmp_path / "leavers of May.sql"
    file.write_text("-- who left\nSELECT 1;\n")
    assert cli._statement(str(file)) == "-- who left\nSELECT 1"
    assert cli._statement("SELECT * FROM gold.sql") == "SELECT * FROM gold.sql"
    with pytest.raises(SettingsError, match=r"no file leavers.sql: expected a query, or a file"):
        cli._statement("leavers.sql")
