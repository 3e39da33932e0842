from datetime import timedelta

import pytest

from clm_spark.errors import SettingsError, TooLittleDataError
from clm_spark.job import run_job
from clm_spark.jobs import check_drift, train_segments
from clm_spark.tables.catalog import CUSTOMER_FEATURES, FEATURE_DRIFT, ITEM_FEATURES
from clm_spark.tables.lake import Lake


@pytest.mark.long
def test_a_day_of_no_customers_is_not_a_day_that_was_not_made(lake):
    spark, settings = lake.spark, lake.settings
    for table in (CUSTOMER_FEATURES, ITEM_FEATURES):
        lake.create(table)

    def makes(table):
        return lambda own, _: own.replace(spark.createDataFrame([], table.schema), into=table, as_of=settings.as_of)

    for name, table, asking in (
        ("build_features", CUSTOMER_FEATURES, (train_segments, check_drift)),
        ("build_item_features", ITEM_FEATURES, (check_drift,)),
    ):
        for job in asking:
            with pytest.raises(SettingsError, match=rf"{table.title} has no row as of 2024-03-01: run the job that"):
                job.run(lake, settings)
        run_job(spark, name, makes(table), settings, reads_events=False)
    with pytest.raises(TooLittleDataError, match="none is known as of 2024-03-01"):
        train_segments.run(lake, settings)
    check_drift.run(lake, settings)
    assert not lake.exists(FEATURE_DRIFT), "nothing to compare, and nothing said"
    before = settings.model_copy(update={"as_of": settings.as_of - timedelta(days=1)})
    with pytest.raises(SettingsError, match=r"gold.customer_features has no row as of 2024-02-29"):
        check_drift.run(Lake(spark, before), before)
