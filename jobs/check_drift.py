"""customer_features, item_features -> feature_drift: how far today's features are from those of an earlier day."""

import logging
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.features.drift import feature_drift, sampled
from clm_spark.job import main
from clm_spark.session import kept
from clm_spark.tables.catalog import CUSTOMER_FEATURES, FEATURE_DRIFT, ITEM_FEATURES
from clm_spark.tables.customer_features import FEATURES
from clm_spark.tables.feature import Last
from clm_spark.tables.item_features import OF_ITEMS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Compare every declared feature with the last day before as_of that its table holds."""
    found = []
    for table, declared in ((CUSTOMER_FEATURES, FEATURES), (ITEM_FEATURES, OF_ITEMS)):
        earlier = lake.read(table).where(F.col("as_of") < F.lit(settings.as_of)).agg(F.max("as_of")).head()
        if earlier is None or earlier[0] is None:
            continue
        days = (lake.read_as_of(table, day) for day in (settings.as_of, earlier[0]))
        now, before = (sampled(rows, table, num_rows=settings.drift.sample_rows) for rows in days)
        compared = feature_drift(now, before, [each.name for each in declared if not isinstance(each, Last)])
        found.append(compared.withColumns({"table_name": F.lit(table.title), "compared_with": F.lit(earlier[0])}))
    if not found:
        log.info("no earlier day to compare with")
        return
    has_drifted = F.col("psi") > settings.drift.max_psi
    rows = reduce(DataFrame.unionByName, found).withColumns(
        {"as_of": F.lit(settings.as_of), "has_drifted": has_drifted}
    )
    with kept(rows.select(FEATURE_DRIFT.schema.names)) as drift:
        lake.replace(drift, into=FEATURE_DRIFT, as_of=settings.as_of)
        worst = drift.where("has_drifted").orderBy(F.desc("psi")).limit(3).collect()
        if worst:
            names = ", ".join(f"{row['table_name']}.{row['feature']} ({row['psi']:.2f})" for row in worst)
            log.warning("%d features drifted, most of all %s", drift.where("has_drifted").count(), names)


if __name__ == "__main__":
    raise SystemExit(main(run))
