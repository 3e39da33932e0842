"""Customer features: what is known about each customer on the morning of a day."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.features.versions import KEY, of_persons, seen_days
from clm_spark.features.windows import beyond_carrying_on, carried_on, features_from_days, gains_from_days
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES
from clm_spark.tables.customer_features import FEATURES
from clm_spark.tables.feature import Sum

ONE_DAY = timedelta(days=1)
WINDOW_DAYS = sorted({f.window_days for f in FEATURES if isinstance(f, Sum) and f.window_days})


def customer_features(customer_days: DataFrame, *, days: Sequence[date], persons: DataFrame | None = None) -> DataFrame:
    """One row per customer and as_of in `days`, as gold.customer_features declares.

    Needs every version of gold.customer_days. A customer appears from the day after the first event known. `persons`
    maps ids to the person known on each of `days`; the partials stay under their ids, so no earlier as_of changes.
    """
    seen = of_persons(seen_days(customer_days, days, CUSTOMER_DAYS), persons, CUSTOMER_DAYS)
    return features_from_days(seen, FEATURES, by=(KEY,)).select(CUSTOMER_FEATURES.schema.names)


def days_that_move(as_of: date, corrected: Sequence[date]) -> list[date]:
    """The days whose share in the features differs between the previous as_of and this one.

    They are the day just passed, those that leave a window, and those `corrected` by late events.
    """
    yesterday = as_of - ONE_DAY
    leaving = [yesterday - timedelta(days=window) for window in WINDOW_DAYS]
    return sorted({yesterday, *leaving, *corrected})


def next_customer_features(
    before: DataFrame, customer_days: DataFrame, *, as_of: date, persons: DataFrame | None = None
) -> tuple[DataFrame, DataFrame]:
    """The features of as_of from those of the day before and `days_that_move`, and the customers to merge instead.

    Needs every version of those days in gold.customer_days, and `persons` of both days. The second frame has a row per
    `customer_id` whose features have to be merged from all days; the first frame leaves them out.
    """
    two = seen_days(customer_days, [as_of - ONE_DAY, as_of], CUSTOMER_DAYS)
    seen = of_persons(two, persons, CUSTOMER_DAYS)
    signed = seen.withColumn("sign", F.when(F.col("as_of") == F.lit(as_of), 1).otherwise(-1))
    beyond = beyond_carrying_on(signed, FEATURES, key=KEY)
    if persons is not None:
        beyond = beyond.unionByName(moved_customers(persons, as_of)).distinct()
    carried = carried_on(before, gains_from_days(signed, FEATURES, by=(KEY,)), FEATURES, by=(KEY,))
    certain = carried.join(beyond, on=KEY, how="left_anti").withColumn("as_of", F.lit(as_of))
    return certain.select(CUSTOMER_FEATURES.schema.names), beyond


def ids_of(customers: DataFrame, persons: DataFrame | None) -> DataFrame:
    """All ids of these `customer_id`, as the events have them; `persons` are those of a single as_of."""
    if persons is None:
        return customers
    theirs = persons.join(customers, on=F.col("person_id") == F.col(KEY), how="left_semi")
    return customers.unionByName(theirs.select(F.col("id").alias(KEY))).distinct()


def moved_customers(persons: DataFrame, as_of: date) -> DataFrame:
    """The customers who gained or lost an id between the day before and as_of: `customer_id`."""
    now, was = (persons.where(F.col("as_of") == F.lit(day)).drop("as_of") for day in (as_of, as_of - ONE_DAY))
    both = now.alias("now").join(was.alias("was"), on="id", how="full")
    persons_of_id = [F.coalesce(f"{then}.person_id", "id") for then in ("was", "now")]
    moved = both.where(persons_of_id[0] != persons_of_id[1])
    return moved.select(F.explode(F.array(*persons_of_id)).alias(KEY)).distinct()
