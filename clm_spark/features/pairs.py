"""Features of customers with items, carried on from the day before."""

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import with_person
from clm_spark.features.customers import ONE_DAY, moved_customers
from clm_spark.features.items import of_named_customers
from clm_spark.features.versions import KEY, of_persons, seen_days
from clm_spark.features.windows import carried_on, gains_from_days
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, PAIR_FEATURES
from clm_spark.tables.feature import Sum
from clm_spark.tables.item_features import MAX_SILENCE_DAYS, OF_PAIRS

PAIR = (KEY, "item_id")
WINDOW_DAYS = sorted({f.window_days for f in OF_PAIRS if isinstance(f, Sum) and f.window_days})


def next_pair_features(
    before: DataFrame, customer_item_days: DataFrame, *, as_of: date, persons: DataFrame | None = None
) -> tuple[DataFrame, DataFrame]:
    """The features of as_of from those of the day before, and the pairs to merge from all their days instead.

    Needs every version of gold.customer_item_days, and `persons` of both days; reads the day just passed, those that leave a
    window, and what became known on the day just passed. The second frame has a row per customer_id and item_id: pairs
    that are new, or come back after a year; those of a day that a late event or a bot flag changed; those of customers
    who gained or lost an id. The first leaves them out.
    """
    yesterday, partials = as_of - ONE_DAY, of_named_customers(customer_item_days)
    moving = [yesterday, *(yesterday - timedelta(days=window) for window in WINDOW_DAYS)]
    two = seen_days(partials.where(F.col("day_on").isin(moving)), [yesterday, as_of], CUSTOMER_ITEM_DAYS)
    sign = F.when(F.col("as_of") == F.lit(as_of), 1).otherwise(-1)
    gains = gains_from_days(of_persons(two, persons, CUSTOMER_ITEM_DAYS).withColumn("sign", sign), OF_PAIRS, by=PAIR)
    is_known = before.select(*PAIR)
    new = gains.where(F.col("recency_days") == 1).select(*PAIR).join(is_known, on=list(PAIR), how="left_anti")
    is_corrected = (F.col("known_on") == F.lit(yesterday)) & (F.col("day_on") < F.lit(yesterday))
    today = None if persons is None else persons.where(F.col("as_of") == F.lit(as_of)).drop("as_of")
    again = new.unionByName(with_person(partials.where(is_corrected).select(*PAIR), today))
    kept = before
    if persons is not None:
        moved = moved_customers(persons, as_of)
        theirs = with_person(partials.select(*PAIR), today).join(moved, on=KEY, how="left_semi")
        again, kept = again.unionByName(theirs), before.join(moved, on=KEY, how="left_anti")
    again = again.distinct()
    certain = kept.join(again, on=list(PAIR), how="left_anti")
    carried = carried_on(certain, gains, OF_PAIRS, by=PAIR, how="left").withColumn("as_of", F.lit(as_of))
    return carried.where(F.col("recency_days") <= MAX_SILENCE_DAYS).select(PAIR_FEATURES.schema.names), again


def days_of_pairs(customer_item_days: DataFrame, pairs: DataFrame, persons: DataFrame | None) -> DataFrame:
    """All rows of these pairs, under the ids of the events; `persons` are those of a single as_of."""
    if persons is None:
        return customer_item_days.join(pairs, on=list(PAIR), how="left_semi")
    ids = persons.select(F.col("id").alias(KEY), F.col("person_id").alias("_person"))
    named = customer_item_days.join(ids, on=KEY, how="left")
    person = F.coalesce("_person", KEY)
    wanted = pairs.select(F.col(KEY).alias("_customer"), F.col("item_id").alias("_item"))
    same = (person == F.col("_customer")) & (F.col("item_id") == F.col("_item"))
    return named.join(wanted, on=same, how="left_semi").drop("_person")
