"""Feature drift: how far the distribution of each feature is from that of an earlier day."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.tables.contract import Table

TENTHS = [tenth / 10 for tenth in range(1, 10)]
NUM_BINS = len(TENTHS) + 2  # below, between and above them, and null
BUCKETS = 1_000_000


def feature_drift(now: DataFrame, before: DataFrame, features: Sequence[str]) -> DataFrame:
    """One row per feature: `num_rows`, `null_share`, `mean`, the same of the day `before`, and `psi`.

    The population stability index sums (p - q) ln(p / q) over bins, p and q being the shares of the two days' rows in
    each; half a row is added to every bin, so that an empty one does not make it infinite. Without drift it is near
    (bins - 1) (1 / rows + 1 / rows before): below some 200 rows it is mostly noise.
    """
    old = _long(before, features)
    # A row per feature: bounded by what is declared.
    tenths = old.groupBy("feature").agg(F.percentile_approx("value", TENTHS, 1000).alias("edges"))
    both = _long(now, features).withColumn("is_now", F.lit(True)).unionByName(old.withColumn("is_now", F.lit(False)))
    # No edges: the earlier day has no value at all.
    below = F.coalesce(F.size(F.filter("edges", lambda edge: edge < F.col("value"))), F.lit(0))
    binned = both.join(F.broadcast(tenths), on="feature").withColumn("bin", F.when(F.col("value").isNotNull(), below))
    then = {"": F.col("is_now"), "_before": ~F.col("is_now")}
    counted = binned.groupBy("feature", "bin").agg(
        *(F.count_if(is_then).alias(f"n{day}") for day, is_then in then.items()),
        *(F.sum(F.when(is_then, F.col("value"))).alias(f"sum{day}") for day, is_then in then.items()),
    )
    all_bins = Window.partitionBy("feature")
    p, q = ((F.col(f"n{day}") + 0.5) / (F.sum(f"n{day}").over(all_bins) + 0.5 * NUM_BINS) for day in then)
    weighed = counted.withColumn("psi", (p - q) * F.log(p / q))
    of_days = [F.sum("psi").alias("psi")]
    for day in then:
        num_rows, num_null = F.sum(f"n{day}"), F.sum(F.when(F.col("bin").isNull(), F.col(f"n{day}")).otherwise(0))
        of_days += [
            num_rows.alias(f"num_rows{day}"),
            (num_null / num_rows).alias(f"null_share{day}"),
            F.try_divide(F.sum(f"sum{day}"), num_rows - num_null).alias(f"mean{day}"),
        ]
    return weighed.groupBy("feature").agg(*of_days)


def sampled(rows: DataFrame, table: Table, *, share: float) -> DataFrame:
    """About that share of the table's rows, by the hash of their key without the day: the same ones on every day."""
    key = [name for name in table.key if name != "as_of"]
    return rows.where(F.pmod(F.xxhash64(*key), F.lit(BUCKETS)) < F.lit(round(share * BUCKETS)))


def _long(rows: DataFrame, features: Sequence[str]) -> DataFrame:
    """A row per row and feature: `feature`, `value`."""
    numbers = rows.select(*(F.col(name).cast("double") for name in features))
    return numbers.unpivot([], list(features), "feature", "value")
