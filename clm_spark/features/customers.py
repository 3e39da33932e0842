"""Customer features: what we know about each customer on the morning of a day."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.features.customer_days import with_superseded_on
from clm_spark.features.panel import at_each
from clm_spark.features.windows import beyond_carrying_on, carried_on, features_from_days, gains_from_days
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES
from clm_spark.tables.customer_features import FEATURES
from clm_spark.tables.feature import Sum

KEY = "customer_id"
ONE_DAY = timedelta(days=1)
WINDOW_DAYS = sorted({f.window_days for f in FEATURES if isinstance(f, Sum) and f.window_days})


def customer_features(customer_days: DataFrame, *, days: Sequence[date], persons: DataFrame | None = None) -> DataFrame:
    """One row per customer and as_of in `days`, as gold.customer_features declares.

    Needs every version of gold.customer_days. A customer appears from the day after the first event known. `persons`
    says whose an id was known to be on each of `days`; the partials stay the id's, so that no earlier as_of moves.
    """
    seen = _of_persons(_seen_days(customer_days, days), persons)
    return features_from_days(seen, FEATURES, key=KEY).select(CUSTOMER_FEATURES.schema.names)


def days_that_move(as_of: date, corrected: Sequence[date]) -> list[date]:
    """The days that make a difference between the as_of before and this one.

    They are the one that has just passed, those that leave a window, and those `corrected` meanwhile.
    """
    yesterday = as_of - ONE_DAY
    leaving = [yesterday - timedelta(days=window) for window in WINDOW_DAYS]
    return sorted({yesterday, *leaving, *corrected})


def next_customer_features(
    before: DataFrame, customer_days: DataFrame, *, as_of: date, persons: DataFrame | None = None
) -> tuple[DataFrame, DataFrame]:
    """The features of as_of from those of the day before and `days_that_move`, and customers for whom that is not enough.

    Needs every version of those days in gold.customer_days, and `persons` of both days. The second frame has a row per
    `customer_id` whose features have to be merged from all days; they are not in the first.
    """
    seen = _of_persons(_seen_days(customer_days, [as_of - ONE_DAY, as_of]), persons)
    signed = seen.withColumn("sign", F.when(F.col("as_of") == F.lit(as_of), 1).otherwise(-1))
    beyond = beyond_carrying_on(signed, FEATURES, key=KEY)
    if persons is not None:
        beyond = beyond.unionByName(_moved(persons, as_of)).distinct()
    carried = carried_on(before, gains_from_days(signed, FEATURES, key=KEY), FEATURES, key=KEY)
    certain = carried.join(beyond, on=KEY, how="left_anti").withColumn("as_of", F.lit(as_of))
    return certain.select(CUSTOMER_FEATURES.schema.names), beyond


def ids_of(customers: DataFrame, persons: DataFrame | None) -> DataFrame:
    """All ids of these `customer_id`, as the events bear them; `persons` are those of a single as_of."""
    if persons is None:
        return customers
    theirs = persons.join(customers, on=F.col("person_id") == F.col(KEY), how="left_semi")
    return customers.unionByName(theirs.select(F.col("id").alias(KEY))).distinct()


def _moved(persons: DataFrame, as_of: date) -> DataFrame:
    """The customers who gained or lost an id between the day before and as_of: `customer_id`."""
    now, was = (persons.where(F.col("as_of") == F.lit(day)).drop("as_of") for day in (as_of, as_of - ONE_DAY))
    both = now.alias("now").join(was.alias("was"), on="id", how="full")
    persons_of_id = [F.coalesce(f"{then}.person_id", "id") for then in ("was", "now")]
    moved = both.where(persons_of_id[0] != persons_of_id[1])
    return moved.select(F.explode(F.array(*persons_of_id)).alias(KEY)).distinct()


def _seen_days(customer_days: DataFrame, days: Sequence[date]) -> DataFrame:
    """The version of each customer-day that an as_of could see, with `age_days`: 1 is the day before as_of."""
    # By customer at once: all that follows stays there.
    seen = at_each(with_superseded_on(customer_days.repartition(KEY)), days)
    was_known = F.col("known_on") < F.col("as_of")
    was_latest = F.col("superseded_on").isNull() | (F.col("as_of") <= F.col("superseded_on"))
    is_left = F.col("num_events") > 0  # none: a bot's day, once it was known for one
    past = seen.where((F.col("day_on") < F.col("as_of")) & was_known & was_latest & is_left)
    return past.withColumn("age_days", F.date_diff("as_of", "day_on").cast("bigint"))


def _of_persons(seen: DataFrame, persons: DataFrame | None) -> DataFrame:
    """A day's partials under several ids of a person as one; those of whom only one id is known are not moved."""
    if persons is None:
        return seen
    named = persons.select(F.col("person_id").alias("id"), "as_of", "person_id").distinct()
    ids = persons.unionByName(named).withColumnRenamed("id", KEY)
    key = [KEY, "as_of"]
    alone = seen.join(ids, on=key, how="left_anti")
    theirs = seen.join(ids, on=key, how="inner").withColumn(KEY, F.col("person_id"))
    figures = [name for name in CUSTOMER_DAYS.schema.names if name not in CUSTOMER_DAYS.key]
    summed = theirs.groupBy(*key, "day_on", "age_days").agg(*(F.sum(name).alias(name) for name in figures))
    return summed.unionByName(alone.select(summed.columns))
