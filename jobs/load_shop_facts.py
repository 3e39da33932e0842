"""the shop's files of items and permissions -> item_facts, contact_permissions: what the business rules ask for."""

import logging

from pyspark.sql import functions as F

from clm_spark.job import main
from clm_spark.privacy.pseudonyms import pseudonym
from clm_spark.settings import Settings
from clm_spark.sources.shop_facts import contact_permissions, item_facts
from clm_spark.tables.catalog import CONTACT_PERMISSIONS, ITEM_FACTS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Write what the files that the settings name say on the morning of as_of."""
    asked, as_of = settings.shop_facts, settings.as_of
    if asked.items is None and asked.permissions is None:
        log.info("shop_facts names no file: nothing is known of stock, brands, exclusions and permissions")
    if asked.items is not None:
        items = item_facts(lake.spark, asked.items).withColumn("as_of", F.lit(as_of))
        lake.replace(items.select(ITEM_FACTS.schema.names), into=ITEM_FACTS, is_key_proven=True, as_of=as_of)
    if asked.permissions is not None:
        said = contact_permissions(lake.spark, asked.permissions)
        named = said.withColumn("customer_id", pseudonym(F.col("customer_id"), key=lake.schemas.key))
        dated = named.withColumn("as_of", F.lit(as_of)).select(CONTACT_PERMISSIONS.schema.names)
        lake.replace(dated, into=CONTACT_PERMISSIONS, is_key_proven=True, as_of=as_of)


if __name__ == "__main__":
    raise SystemExit(main(run))
