"""Versions of a day: each holds all that was known of it by `known_on`; an as_of reads the last one before it."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.events.bots import CUSTOMER_DAY, was_flagged
from clm_spark.features.panel import at_each
from clm_spark.tables.contract import Table

KEY = "customer_id"


def with_every_version(available: DataFrame, *, sums: Sequence[str], others: Sequence[str] = ()) -> DataFrame:
    """Repeat each row for every version of its customer's day from its `available_on` on; the version is `known_on`.

    Rows may have `flagged_on`: a version of that day or later is empty, with `sums` of 0 and no `others`, and is left
    out where there is no earlier one.
    """
    day = Window.partitionBy(*CUSTOMER_DAY)
    versions = F.collect_set("available_on").over(day)
    if "flagged_on" in available.columns:  # of the day, or of one beside it that rows were taken from
        versions = F.array_union(versions, F.collect_set("flagged_on").over(day))
    known = F.filter("_versions", lambda version: version >= F.col("available_on"))
    versioned = available.withColumn("_versions", versions).withColumn("known_on", F.explode(known)).drop("_versions")
    if "flagged_on" not in available.columns:
        return versioned
    is_bot = was_flagged(versioned, by=F.col("known_on"))
    is_withdrawn = (F.col("known_on") == F.col("flagged_on")) & (F.col("available_on") < F.col("flagged_on"))
    nothing = {name: F.when(is_bot, F.lit(0)).otherwise(F.col(name)) for name in sums}
    nulls = {name: F.when(~is_bot, F.col(name)) for name in others}
    return versioned.where(~is_bot | is_withdrawn).withColumns({**nothing, **nulls})


def with_superseded_on(days: DataFrame, table: Table) -> DataFrame:
    """Add `superseded_on`, the `known_on` of the day's next version: an as_of after `known_on` and up to it sees this row."""
    versions = Window.partitionBy(*_without(table, "known_on")).orderBy("known_on")
    return days.withColumn("superseded_on", F.lead("known_on").over(versions))


def seen_days(partials: DataFrame, days: Sequence[date], table: Table) -> DataFrame:
    """The version of each day that an as_of in `days` could see, with `age_days`: 1 is the day before as_of.

    Needs every version of the days in `table`.
    """
    # Partitioned by the first column of the key: nothing below shuffles again.
    seen = at_each(with_superseded_on(partials.repartition(table.key[0]), table), days)
    was_known = F.col("known_on") < F.col("as_of")
    was_latest = F.col("superseded_on").isNull() | (F.col("as_of") <= F.col("superseded_on"))
    is_left = F.col("num_events") > 0  # none: a day that was flagged as a bot's
    past = seen.where((F.col("day_on") < F.col("as_of")) & was_known & was_latest & is_left)
    return past.withColumn("age_days", F.date_diff("as_of", "day_on").cast("bigint"))


def of_persons(seen: DataFrame, persons: DataFrame | None, table: Table) -> DataFrame:
    """Sum a day's partials over the ids of each person; the rows of persons with a single id are not shuffled."""
    if persons is None:
        return seen
    named = persons.select(F.col("person_id").alias("id"), "as_of", "person_id").distinct()
    ids = persons.unionByName(named).withColumnRenamed("id", KEY)
    alone = seen.join(ids, on=[KEY, "as_of"], how="left_anti")
    theirs = seen.join(ids, on=[KEY, "as_of"], how="inner").withColumn(KEY, F.col("person_id"))
    figures = [
        # Of the texts that two ids have for one day, such as an item's category, either will do; of times the last.
        (F.max if isinstance(column.type, T.StringType | T.TimestampType) else F.sum)(column.name).alias(column.name)
        for column in table.columns
        if column.name not in table.key
    ]
    summed = theirs.groupBy(*_without(table, "known_on"), "as_of", "age_days").agg(*figures)
    return summed.unionByName(alone.select(summed.columns))


def _without(table: Table, name: str) -> list[str]:
    return [column for column in table.key if column != name]
