"""Identity: which visitor ids and logins are one person, and since when we know.

Events keep the id that they came with; `silver.identities` says whose it was known to be on any day. It follows from
the links alone, whatever the as_of, the order of the runs and the cut into batches. Who was linked is the component of
the graph of links known by that day. A person's id is the login that was linked first, so that people known to the
shop keep their names and what was anonymous is re-keyed.
"""

from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.clocks import available_on
from clm_spark.tables.catalog import IDENTITIES
from clm_spark.tables.lake import Lake


def known_persons(lake: Lake, days: Sequence[date]) -> DataFrame | None:
    """One row per id and as_of in `days` that was known to be another's: `id`, `as_of`, `person_id`.

    None where no id was ever stitched, so that shops without visitor ids pay no join.
    """
    if not lake.exists(IDENTITIES) or lake.read(IDENTITIES).isEmpty():
        return None
    mornings = [
        lake.read_as_of(IDENTITIES, day)
        .where("customer_id != id")
        .select("id", F.lit(day).alias("as_of"), F.col("customer_id").alias("person_id"))
        for day in days
    ]
    return reduce(DataFrame.unionAll, mornings)


def with_person(rows: DataFrame, persons: DataFrame | None) -> DataFrame:
    """`customer_id` turned from the id in the event into the person's.

    Rows with an `as_of` get whom that day knew; for others `persons` must be of a single day.
    """
    if persons is None:
        return rows
    keys = ["customer_id", *(["as_of"] if "as_of" in rows.columns else [])]
    named = persons.withColumnRenamed("id", "customer_id").select(*keys, "person_id")
    joined = rows.join(named, on=keys, how="left")
    return joined.withColumn("customer_id", F.coalesce("person_id", "customer_id")).select(rows.columns)


def links_from_events(events: DataFrame) -> DataFrame:
    """One row per visitor id and login of events that carry both: `visitor_id`, `customer_id`, `known_on`."""
    # Without a login an event has the visitor's id for its customer's.
    linking = events.where(F.col("visitor_id").isNotNull() & (F.col("customer_id") != F.col("visitor_id")))
    return linking.groupBy("visitor_id", "customer_id").agg(F.min(available_on()).alias("known_on"))


def drop_known_links(links: DataFrame, known: DataFrame) -> DataFrame:
    """Those links that are new, or known since an earlier day than we thought."""
    same = [F.col(f"new.{name}") == F.col(f"old.{name}") for name in ("visitor_id", "customer_id")]
    not_earlier = F.col("new.known_on") >= F.col("old.known_on")
    return links.alias("new").join(known.alias("old"), on=[*same, not_earlier], how="left_anti")
