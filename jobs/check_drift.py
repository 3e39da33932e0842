"""customer_features, item_features -> feature_drift: how far today's features are from those of four weeks before."""

import logging
from datetime import timedelta
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.features.drift import feature_drift, sampled
from clm_spark.job import main
from clm_spark.models.made_days import check_made
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_FEATURES, FEATURE_DRIFT, ITEM_FEATURES
from clm_spark.tables.customer_features import FEATURES
from clm_spark.tables.feature import Last
from clm_spark.tables.item_features import OF_ITEMS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Compare every declared feature that is a number with the earlier day, where its table has that day."""
    now_on = settings.as_of
    before_on = now_on - timedelta(days=settings.drift.against_days)
    found = []
    for table, declared in ((CUSTOMER_FEATURES, FEATURES), (ITEM_FEATURES, OF_ITEMS)):
        now, before = lake.read_as_of(table, now_on), lake.read_as_of(table, before_on)
        num_rows, num_before = now.count(), before.count()
        if not num_rows:
            check_made(lake, table)
        if not (num_rows and num_before):
            log.info("%s has no row as of %s to compare", table.title, before_on if num_rows else now_on)
            continue
        share = min(1.0, settings.drift.sample_rows / max(num_rows, num_before))
        compared = feature_drift(
            sampled(now, table, share=share),
            sampled(before, table, share=share),
            [each.name for each in declared if not isinstance(each, Last)],
        )
        found.append(compared.withColumn("table_name", F.lit(table.title)))
    if not found:
        return
    constants = {"as_of": F.lit(now_on), "compared_with": F.lit(before_on)}
    # Of few rows the index is mostly noise.
    is_told = F.least("num_rows", "num_rows_before") >= settings.drift.min_rows
    constants["has_drifted"] = is_told & (F.col("psi") > settings.drift.max_psi)
    rows = reduce(DataFrame.unionByName, found).withColumns(constants).select(FEATURE_DRIFT.schema.names)
    with persisted(rows) as drift:
        lake.replace(drift, into=FEATURE_DRIFT, as_of=now_on)
        worst = drift.where("has_drifted").orderBy(F.desc("psi")).limit(3).collect()
        if worst:
            names = ", ".join(f"{row['table_name']}.{row['feature']} ({row['psi']:.2f})" for row in worst)
            log.warning("%d features drifted, most of all %s", drift.where("has_drifted").count(), names)


if __name__ == "__main__":
    raise SystemExit(main(run))
