"""Identity: which visitor ids and logins are one person, and since which day that is known.

Events keep the id that they came with; `silver.identities` maps it to the person known on any day. The map follows
from the links alone, whatever the as_of, the order of the runs and the batches. A person is a connected component of
the links known by that day. Its id is the login that was linked first, so known customers keep their id.
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
    """One row per as_of in `days` and id that belonged to another person: `id`, `as_of`, `person_id`.

    None where no id was ever stitched: shops without visitor ids pay for no join.
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
    """Replace the id of the event in `customer_id` by that of the person.

    Rows with an `as_of` get the person known on that day; for others `persons` must be of a single day.
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
    """The links that are new, or known from an earlier day than the stored one."""
    same = [F.col(f"new.{name}") == F.col(f"old.{name}") for name in ("visitor_id", "customer_id")]
    not_earlier = F.col("new.known_on") >= F.col("old.known_on")
    return links.alias("new").join(known.alias("old"), on=[*same, not_earlier], how="left_anti")
