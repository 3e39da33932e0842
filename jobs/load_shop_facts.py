"""the shop's files of items and permissions -> item_facts, contact_permissions: what the business rules ask for."""

import logging

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.job import main
from clm_spark.models.made_days import rows_made
from clm_spark.models.registry import fingerprint
from clm_spark.privacy.pseudonyms import pseudonym
from clm_spark.settings import Settings
from clm_spark.sources.shop_facts import contact_permissions, item_facts
from clm_spark.tables.catalog import CONTACT_PERMISSIONS, ITEM_FACTS
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Write what the files that the settings name say on the morning of as_of; of a file that is named no more, nothing."""
    asked = settings.shop_facts
    if asked.items is None and asked.permissions is None:
        log.info("shop_facts names no file: nothing is known of stock, brands, exclusions and permissions")
    items = item_facts(lake.spark, asked.items) if asked.items is not None else None
    _keep(lake, items, ITEM_FACTS)
    said = contact_permissions(lake.spark, asked.permissions) if asked.permissions is not None else None
    if said is not None:
        said = said.withColumn("customer_id", pseudonym(F.col("customer_id"), key=lake.schemas.key))
    _keep(lake, said, CONTACT_PERMISSIONS)


def _keep(lake: Lake, told: DataFrame | None, table: Table) -> None:
    """Replace the table's rows of as_of by those of a file, unless they are the same: what was made of them then holds."""
    as_of, known = lake.settings.as_of, rows_made(lake, table)
    rows = known.limit(0) if told is None else told.withColumn("as_of", F.lit(as_of)).select(table.schema.names)
    if fingerprint(rows) == fingerprint(known) and (told is None or not known.isEmpty()):
        return
    if lake.exists(table) and not lake.read(table).where(F.col("as_of") > F.lit(as_of)).isEmpty():
        log.warning("%s has later days: as of %s it gets what the file says by now", table.title, as_of)
    lake.replace(rows, into=table, is_key_proven=True, as_of=as_of)


if __name__ == "__main__":
    raise SystemExit(main(run))
