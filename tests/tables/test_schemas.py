import pytest
from conftest import lake_settings

from clm_spark.errors import SettingsError
from clm_spark.tables.catalog import EVENTS
from clm_spark.tables.schemas import Schemas


@pytest.mark.parametrize("catalog", ["spark_catalog", "main", "dev-main", "2024", "a`b", "select"])
def test_a_catalog_of_any_name_is_one_part_of_a_tables_name(spark, tmp_path, catalog):
    schemas = Schemas(spark, lake_settings(tmp_path, lakehouse={"path": str(tmp_path), "catalog": catalog}))
    parts = spark._jsparkSession.sessionState().sqlParser().parseMultipartIdentifier(schemas.table_name(EVENTS))
    assert [parts.apply(number) for number in range(parts.size())] == [catalog, "silver", "events"]
    assert ("`" in schemas.name("gold")) == (catalog in ("dev-main", "2024", "a`b"))


@pytest.mark.parametrize("schema", ["clm-gold", "", "clm.gold", "1gold"])
def test_a_schema_that_no_metastore_takes_is_refused_in_one_line(tmp_path, schema):
    with pytest.raises(SettingsError, match=r"^settings: lakehouse\.gold: String should match pattern [^\n]*$"):
        lake_settings(tmp_path, lakehouse={"path": str(tmp_path), "gold": schema})
