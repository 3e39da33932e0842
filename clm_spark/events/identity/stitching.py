"""From links between visitor ids and logins to persons: who is stitched, who is cut off, and on which day."""

import logging
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.identity.components import components
from clm_spark.events.identity.history import NEVER, person_changes
from clm_spark.events.identity.persons import drop_known_links
from clm_spark.settings import IdentitySettings
from clm_spark.tables.catalog import IDENTITIES, IDENTITY_CUTOFFS, IDENTITY_LINKS
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)
EPOCH = date(1970, 1, 1)


def add_links(lake: Lake, found: DataFrame, *, limits: IdentitySettings) -> None:
    """Write the changes that new links bring, from their first day on. A second run changes nothing."""
    lake.create(IDENTITY_LINKS)
    lake.create(IDENTITIES)
    new = drop_known_links(found, lake.read(IDENTITY_LINKS)).localCheckpoint()
    first = new.agg(F.min("known_on")).head()
    assert first is not None
    since = first[0]
    if since is None:
        log.info("no new link between a visitor id and a login")
        return
    links = lake.read(IDENTITY_LINKS).unionByName(new)
    recent = links.where(F.col("known_on") >= F.lit(since))
    days = [row["known_on"] for row in recent.select("known_on").distinct().collect()]  # bounded by the calendar
    is_first = links.where(F.col("known_on") < F.lit(since)).isEmpty()
    before = None if is_first else lake.read_as_of(IDENTITIES, since)
    identities, cutoffs = stitched(links, before, since=since, limits=limits)
    lake.replace(identities, into=IDENTITIES, is_key_proven=True, known_on=days)
    reported = lake.replace(cutoffs, into=IDENTITY_CUTOFFS, is_key_proven=True, known_on=days)
    if reported.num_rows:
        log.warning(
            "%d shared visitor ids and large groups were not stitched: %s", reported.num_rows, IDENTITY_CUTOFFS.title
        )
    # Last: after a crash before this, the next run finds the links new again.
    lake.replace(recent, into=IDENTITY_LINKS, is_key_proven=True, known_on=days)


def forget_links(lake: Lake) -> None:
    """Empty the tables of links and persons, where they are not: days on which links became known are others now."""
    for table in (IDENTITY_LINKS, IDENTITIES, IDENTITY_CUTOFFS):
        if lake.exists(table) and not lake.read(table).isEmpty():
            lake.replace(lake.read(table).limit(0), into=table)


def stitched(
    links: DataFrame, before: DataFrame | None, *, since: date, limits: IdentitySettings
) -> tuple[DataFrame, DataFrame]:
    """The rows of silver.identities and of silver.identity_cutoffs from the day `since` on.

    `links` are all that are known, as silver.identity_links declares; `before` is the last row of each id known before
    `since`, None where no link was. Only ids that links from `since` on touch, and those stitched to them, are looked
    at. Both frames are read more than once.
    """
    pairs = links.groupBy("visitor_id", "customer_id").agg(F.min("known_on").alias("known_on"))
    near = pairs if before is None else _touched(pairs, before, since=since)
    held = _with_dropped_on(near, max_logins=limits.max_logins_per_visitor).localCheckpoint()
    numbers = _numbered(near, pairs).localCheckpoint()
    ever_held = held.where(F.col("dropped_on").isNull() | (F.col("known_on") < F.col("dropped_on")))
    edges = ever_held.select(
        "visitor_id",
        "customer_id",
        F.unix_date("known_on").cast("bigint").alias("known_day"),
        F.coalesce(F.unix_date("dropped_on").cast("bigint"), F.lit(NEVER)).alias("dropped_day"),
    )
    edges = _translated(_translated(edges, numbers, "visitor_id", "a"), numbers, "customer_id", "b").localCheckpoint()
    grouped = edges.join(components(edges), on=F.col("a") == F.col("node"), how="inner").drop("node")
    changes = person_changes(grouped, since=(since - EPOCH).days, max_ids=limits.max_ids_per_person)
    for node, name in (("node", "id"), ("person", "customer_id"), ("first_node", "first_id")):
        changes = _named(changes, numbers, node, name)
    changes = changes.withColumn("known_on", F.date_from_unix_date(F.col("known_day").cast("int"))).localCheckpoint()
    cutoffs = _large_groups(changes).unionByName(_shared_visitors(held.where(F.col("dropped_on") >= F.lit(since))))
    return changes.select(IDENTITIES.schema.names), cutoffs.select(IDENTITY_CUTOFFS.schema.names)


def _touched(links: DataFrame, before: DataFrame, *, since: date) -> DataFrame:
    """The links of every visitor id whose person the links from `since` on can change."""
    # The members of a cut-off group have no common id: a link to one of them concerns all such groups.
    person = F.when(F.col("is_cut_off"), F.lit("")).otherwise(F.col("customer_id"))
    members = before.select("id", person.alias("person_id"))
    recent = links.where(F.col("known_on") >= F.lit(since))
    seeds = recent.select(F.explode(F.array("visitor_id", "customer_id")).alias("id")).distinct()
    persons = (
        seeds.join(members, on="id", how="left").select(F.coalesce("person_id", "id").alias("person_id")).distinct()
    )
    theirs = members.join(persons, on="person_id", how="left_semi").select("id")
    ids = seeds.unionAll(persons).unionAll(theirs).distinct()
    return links.join(ids.withColumnRenamed("id", "visitor_id"), on="visitor_id", how="left_semi")


def _with_dropped_on(links: DataFrame, *, max_logins: int) -> DataFrame:
    """One row per visitor id and login: when the link became known, and when the visitor id turned out to be shared."""
    of_visitor = Window.partitionBy("visitor_id")
    ranked = links.withColumn("_place", F.row_number().over(of_visitor.orderBy("known_on", "customer_id")))
    first_too_many = F.min(F.when(F.col("_place") == max_logins + 1, F.col("known_on")))
    return ranked.withColumn("dropped_on", first_too_many.over(of_visitor)).drop("_place")


def _numbered(near: DataFrame, links: DataFrame) -> DataFrame:
    """`id` and `node`, in the order in which ids are taken for a person's: first linked, logins before visitor ids."""
    first_on = F.min("known_on").alias("first_on")
    # Of a login all links count: also those to visitors that need not be looked at now.
    logins = links.join(near.select("customer_id").distinct(), on="customer_id", how="left_semi")
    ids = (
        logins.groupBy(F.col("customer_id").alias("id"))
        .agg(first_on, F.lit(False).alias("is_visitor"))
        .unionAll(near.groupBy(F.col("visitor_id").alias("id")).agg(first_on, F.lit(True).alias("is_visitor")))
    )
    # Sorted by range, so the number rises from task to task.
    ordered = ids.orderBy("first_on", "is_visitor", "id")
    return ordered.select("id", F.monotonically_increasing_id().alias("node"))


def _translated(rows: DataFrame, numbers: DataFrame, name: str, node: str) -> DataFrame:
    """Column `name`, an id, as its number in column `node`."""
    return rows.join(numbers.toDF(name, node), on=name, how="inner").drop(name)


def _named(rows: DataFrame, numbers: DataFrame, node: str, name: str) -> DataFrame:
    return rows.join(numbers.toDF(name, node), on=node, how="inner").drop(node)


def _large_groups(changes: DataFrame) -> DataFrame:
    cut_off = changes.where("is_cut_off").groupBy(F.col("first_id").alias("id"), "known_on")
    return cut_off.agg(F.max("num_ids").alias("num_ids")).withColumn("reason", F.lit("large_group"))


def _shared_visitors(held: DataFrame) -> DataFrame:
    seen = held.where(F.col("known_on") <= F.col("dropped_on"))
    dropped = seen.groupBy(F.col("visitor_id").alias("id"), F.col("dropped_on").alias("day_on"))
    return dropped.agg(F.count("*").alias("num_ids")).select(
        "id", F.col("day_on").alias("known_on"), "num_ids", F.lit("shared_visitor").alias("reason")
    )
