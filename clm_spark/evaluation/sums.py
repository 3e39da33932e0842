"""Means that come out the same in every run."""

from pyspark.sql import Column
from pyspark.sql import functions as F

# 18 places after the point, 10 before: a sum of decimals does not depend on the order of the rows, one of doubles does.
EXACT = "decimal(28,18)"


def exact_sum(value: Column) -> Column:
    """The sum of doubles below 1e10, each rounded to 18 decimal places."""
    return F.sum(value.cast(EXACT)).cast("double")


def exact_mean(value: Column) -> Column:
    """The mean, independent of the order of the rows where all values are finite and below 1e10."""
    exact = value.try_cast(EXACT)
    is_exact = F.count(exact) == F.count(value)
    return F.when(is_exact, F.try_divide(F.sum(exact).cast("double"), F.count(value))).otherwise(F.avg(value))
