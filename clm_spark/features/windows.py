"""Declared features from partial aggregates: merged from all days, or carried on from the day before.

Both give the same rows, because only whole numbers are added.
"""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.tables.feature import Age, Derived, Distinct, Feature, Last, SquaredGaps, Sum

Merged = Sum | Age | SquaredGaps | Distinct | Last
Carried = Sum | Age | SquaredGaps | Last

EVER = 0  # the bucket of days that are older than any window


def features_from_days(days: DataFrame, features: Sequence[Feature], *, by: Sequence[str]) -> DataFrame:
    """One row per `by` and as_of, with every declared feature.

    Needs a row per `by`, as_of and day, with `day_on`, `age_days` (1 is the day before as_of) and the daily figures.
    """
    group = (*by, "as_of")
    merged = _by_bucket(_with_gaps(days, features, group), features, group).groupBy(*group)
    return with_derived(merged.agg(*(_merged(f) for f in features if not isinstance(f, Derived))), features)


def with_derived(merged: DataFrame, features: Sequence[Feature]) -> DataFrame:
    """Add what is computed from the other features of the row."""
    return merged.withColumns({f.name: F.expr(f.sql).cast("double") for f in features if isinstance(f, Derived)})


def gains_from_days(days: DataFrame, features: Sequence[Feature], *, by: Sequence[str]) -> DataFrame:
    """One row per `by`: the change of its sums, and candidates for its ages and texts, from one as_of to the next.

    Needs the rows of `features_from_days` for both as_of and every day that differs between them, be it in its figures
    or in its place in a window, with `sign`: 1 for the later as_of, -1 for the earlier.
    """
    signed = _by_bucket(days, _without_gaps(features), (*by, "sign")).groupBy(*by)
    return signed.agg(*(_gained(feature) for feature in _without_gaps(features)))


def carried_on(
    before: DataFrame, gains: DataFrame, features: Sequence[Feature], *, by: Sequence[str], how: str = "full"
) -> DataFrame:
    """One row per `by`: the features of the next as_of, from those of the one before and their gains.

    Wrong for the keys of `beyond_carrying_on`, which have to be merged from their days.
    """
    same = reduce(Column.__and__, (F.col(f"old.{name}") == F.col(f"new.{name}") for name in by))
    both = before.alias("old").join(gains.alias("new"), on=same, how=how)
    named = (F.coalesce(f"old.{name}", f"new.{name}").alias(name) for name in by)
    return with_derived(
        both.select(*named, *(_carried(feature) for feature in features if isinstance(feature, Carried))), features
    )


def beyond_carrying_on(days: DataFrame, features: Sequence[Feature], *, key: str) -> DataFrame:
    """The keys for which a day before both as_of has changed, so that they cannot be carried on.

    That is, a day that no longer counts for an age, or counts differently for a gap. Needs the rows of
    `gains_from_days`.
    """
    was, now = F.col("sign") < 0, F.col("sign") > 0
    ages = sorted({feature.where for feature in features if isinstance(feature, Age)})
    gaps = sorted({feature.where for feature in features if isinstance(feature, SquaredGaps)})
    counted = {f"_{n}": F.expr(where) for n, where in enumerate([*ages, *gaps])}
    old = days.withColumns(counted).where((F.col("sign") < 0) | (F.col("age_days") > 1))
    seen = old.groupBy(key, "day_on").agg(
        *(
            F.bool_or(is_then & F.col(name)).alias(f"{name}{then}")
            for name in counted
            for then, is_then in (("was", was), ("now", now))
        )
    )
    is_beyond = F.lit(False)
    for name in list(counted)[: len(ages)]:
        is_beyond |= F.col(f"{name}was") & ~F.col(f"{name}now")
    for name in list(counted)[len(ages) :]:
        is_beyond |= F.col(f"{name}was") != F.col(f"{name}now")
    return seen.where(is_beyond).select(key).distinct()


def _without_gaps(features: Sequence[Feature]) -> list[Sum | Age | Last]:
    return [feature for feature in features if isinstance(feature, Sum | Age | Last)]


def _with_gaps(days: DataFrame, features: Sequence[Feature], group: Sequence[str]) -> DataFrame:
    """Add for each gap feature the squared days from this day to the next one that counts."""
    gaps = {}
    for feature in features:
        if isinstance(feature, SquaredGaps):
            counts = F.expr(feature.where)
            history = Window.partitionBy(*group, counts).orderBy("age_days")
            gap = F.col("age_days") - F.lag("age_days").over(history)
            gaps[feature.name] = F.when(counts, gap * gap)
    return days.withColumns(gaps)


def _by_bucket(days: DataFrame, features: Sequence[Feature], group: Sequence[str]) -> DataFrame:
    """Days summed by the shortest window that holds them: a handful of rows per group, from which all windows follow."""
    edges = sorted({f.window_days for f in features if isinstance(f, Sum | Distinct) and f.window_days})
    bucket = F.lit(EVER)
    for edge in reversed(edges):
        bucket = F.when(F.col("age_days") <= edge, edge).otherwise(bucket)
    columns = {_daily(feature): _of_bucket(feature) for feature in features if not isinstance(feature, Derived)}
    named = (column.alias(name) for name, column in columns.items())
    return days.groupBy(*group, bucket.alias("bucket")).agg(*named)


def _daily(feature: Merged) -> str:
    """The column of a bucket; the same figure over several windows shares one."""
    match feature:
        case Sum():
            return f"sum of {feature.of}"
        case Distinct():
            return f"union of {feature.of}"
        case _:
            return feature.name


def _of_bucket(feature: Merged) -> Column:
    match feature:
        case Sum():
            return F.sum(F.expr(feature.of))
        case Age():
            return _extreme(feature, F.when(F.expr(feature.where), F.col("age_days")))
        case SquaredGaps():
            return F.sum(feature.name)
        case Distinct():
            return F.theta_union_agg(feature.of)
        case Last():
            return F.min(F.when(F.col(feature.of).isNotNull(), F.struct("age_days", feature.of)))


def _extreme(feature: Age, age: Column) -> Column:
    return F.max(age) if feature.of == "first" else F.min(age)


def _is_inside(feature: Sum | Distinct) -> Column:
    if feature.window_days is None:
        return F.lit(True)
    return (F.col("bucket") != EVER) & (F.col("bucket") <= feature.window_days)


def _merged(feature: Merged) -> Column:
    of_bucket = F.col(f"`{_daily(feature)}`")
    match feature:
        case Sum():
            value = F.sum(F.when(_is_inside(feature), of_bucket).otherwise(0))
        case Age():
            value = _extreme(feature, of_bucket)
        case SquaredGaps():
            value = F.coalesce(F.sum(of_bucket), F.lit(0))
        case Distinct():
            merged = F.theta_union_agg(F.when(_is_inside(feature), of_bucket))
            value = F.coalesce(F.theta_sketch_estimate(merged), F.lit(0))
        case Last():
            value = F.min(of_bucket)[feature.of]
    return value.cast(feature.column.type).alias(feature.name)


def _gained(feature: Sum | Age | Last) -> Column:
    if isinstance(feature, Last):
        last = F.min(F.when(F.col("sign") > 0, F.col(feature.name)))
        return F.when(last["age_days"] == 1, last[feature.of]).alias(feature.name)  # of the day just passed
    if isinstance(feature, Age):
        return _extreme(feature, F.when(F.col("sign") > 0, F.col(feature.name))).alias(feature.name)
    signed = F.col("sign") * F.col(f"`{_daily(feature)}`")
    return F.sum(F.when(_is_inside(feature), signed).otherwise(0)).alias(feature.name)


def _carried(feature: Carried) -> Column:
    was, new = F.col(f"old.{feature.name}"), f"new.{feature.name}"
    match feature:
        case Sum():
            value = F.coalesce(was, F.lit(0)) + F.coalesce(new, F.lit(0))
        case Age():
            value = (F.greatest if feature.of == "first" else F.least)(was + 1, F.col(new))
        case SquaredGaps():
            # If the day just passed counts, the gap that it ends is the recency as of that day.
            gap = F.when(F.col(f"new.{feature.recency}") == 1, F.col(f"old.{feature.recency}"))
            value = F.coalesce(was, F.lit(0)) + F.coalesce(gap * gap, F.lit(0))
        case Last():
            value = F.coalesce(F.col(new), was)
    return value.cast(feature.column.type).alias(feature.name)
