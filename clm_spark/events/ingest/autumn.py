"""The hour that comes twice when daylight saving ends: which of the two a record means, by its place in its file."""

from datetime import timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.ingest.validation import IS_USABLE

FILE = ("file", "arrived_at")
OUT_OF_ORDER = timedelta(minutes=5)  # records that a log wrote in another order are less apart


def second_hours(results: DataFrame, *, time_zone: str) -> DataFrame:
    """One row per stretch of a file that is of the second of two equal hours: `file`, `arrived_at`, `first`, `last`.

    `results` are of every record, with `occurred_at` read as of the first hour and `comes_twice`. Where the usable
    records of such an hour stand together, and their times go back exactly once by more than `OUT_OF_ORDER`, those from there on are of the second.
    A file that is not in the order of time has none.
    """
    usable = results.where(IS_USABLE)
    local_day = F.to_date(F.from_utc_timestamp("occurred_at", time_zone)).alias("day_on")
    hour = (*FILE, "day_on")
    before = F.lag("occurred_at").over(Window.partitionBy(*hour).orderBy("position"))
    twice = usable.where("comes_twice").select(*FILE, "position", "occurred_at", local_day)
    stretches = (
        twice.withColumn("goes_back", F.coalesce(before - F.col("occurred_at") > F.lit(OUT_OF_ORDER), F.lit(False)))
        .groupBy(*hour)
        .agg(
            F.count_if("goes_back").alias("num_steps"),
            F.min(F.when(F.col("goes_back"), F.col("position"))).alias("first"),
            F.max("position").alias("last"),
            (F.max("position") - F.min("position") + 1 - F.count("*")).alias("num_between"),
        )
        .where("num_steps = 1 AND num_between = 0")
    )
    in_order = F.min_by("occurred_at", "position") <= F.max_by("occurred_at", "position")
    files = usable.groupBy(*FILE).agg(in_order.alias("in_order")).where("in_order")
    return stretches.join(files, on=list(FILE), how="left_semi").select(*FILE, "first", "last")


def with_second_hours(records: DataFrame, stretches: DataFrame) -> DataFrame:
    """The records with `occurred_at`, and `known_at` where it is the same, an hour later inside the stretches.

    Ids stay: they are made of the time as written, or another export of the hour would count twice.
    """
    where = stretches.select(*(F.col(name).alias(f"_{name}") for name in (*FILE, "first", "last")))
    inside = [
        *(F.col(name) == F.col(f"_{name}") for name in FILE),
        F.col("position").between(F.col("_first"), F.col("_last")),
    ]
    marked = records.join(F.broadcast(where), on=inside, how="left")
    is_second = F.col("_first").isNotNull()
    later = F.col("occurred_at") + F.expr("INTERVAL 1 HOUR")
    times = {"occurred_at": F.when(is_second, later).otherwise(F.col("occurred_at"))}
    if "known_at" in records.columns:
        is_same = F.col("known_at") == F.col("occurred_at")
        times["known_at"] = F.when(is_second & is_same, later).otherwise(F.col("known_at"))
    return marked.withColumns(times).select(records.columns)
