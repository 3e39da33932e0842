"""How far the features of a day are from those of an earlier one: what models were trained on may no longer hold."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.tables.contract import Table

TENTHS = [tenth / 10 for tenth in range(1, 10)]
NUM_BINS = len(TENTHS) + 2  # below, between and above them, and null


def feature_drift(now: DataFrame, before: DataFrame, features: Sequence[str]) -> DataFrame:
    """One row per feature: `num_rows`, `null_share`, `mean`, the same of the day `before`, and `psi`.

    The population stability index sums (p - q) ln(p / q) over bins, p and q being the shares of the two days' rows in
    each; half a row is added to every bin, so that an empty one does not make it infinite. Without drift it is near
    (bins - 1) (1 / rows + 1 / rows before): below some 200 rows it says little.
    """
    long = (
        _long(now, features)
        .withColumn("is_now", F.lit(True))
        .unionByName(_long(before, features).withColumn("is_now", F.lit(False)))
    )
    edges = F.percentile_approx(F.when(~F.col("is_now"), F.col("value")), TENTHS, 1000)
    # A row per feature: bounded by what is declared.
    tenths = F.broadcast(long.groupBy("feature").agg(edges.alias("edges")))
    # No edges: the earlier day has no value at all.
    below = F.coalesce(F.size(F.filter("edges", lambda edge: edge < F.col("value"))), F.lit(0))
    binned = long.join(tenths, on="feature").withColumn("bin", F.when(F.col("value").isNotNull(), below))
    then = {"": F.col("is_now"), "_before": ~F.col("is_now")}
    counted = binned.groupBy("feature", "bin").agg(
        *(F.count_if(is_then).alias(f"n{name}") for name, is_then in then.items()),
        *(F.sum(F.when(is_then, F.col("value"))).alias(f"sum{name}") for name, is_then in then.items()),
    )
    summed = counted.groupBy("feature").agg(
        *(F.sum(f"n{name}").alias(f"num_rows{name}") for name in then),
        *(
            F.coalesce(F.sum(F.when(F.col("bin").isNull(), F.col(f"n{name}"))), F.lit(0)).alias(f"nulls{name}")
            for name in then
        ),
        *(F.sum(f"sum{name}").alias(f"sum{name}") for name in then),
    )
    p, q = ((F.col(f"n{name}") + 0.5) / (F.col(f"num_rows{name}") + 0.5 * NUM_BINS) for name in then)
    of_bins = counted.join(F.broadcast(summed.select("feature", "num_rows", "num_rows_before")), on="feature")
    psi = of_bins.groupBy("feature").agg(F.sum((p - q) * F.log(p / q)).alias("psi"))
    shares = {f"null_share{name}": F.col(f"nulls{name}") / F.col(f"num_rows{name}") for name in then}
    means = {
        f"mean{name}": F.try_divide(f"sum{name}", F.col(f"num_rows{name}") - F.col(f"nulls{name}")) for name in then
    }
    return (
        summed.join(psi, on="feature")
        .withColumns({**shares, **means})
        .drop("nulls", "nulls_before", "sum", "sum_before")
    )


def sampled(rows: DataFrame, table: Table, *, num_rows: int) -> DataFrame:
    """About so many of the table's rows, by the hash of their key without the day: the same ones on every day."""
    key = [name for name in table.key if name != "as_of"]
    share = num_rows / max(rows.count(), num_rows)
    return rows.where(F.pmod(F.xxhash64(*key), F.lit(1_000_000)) < F.lit(round(share * 1_000_000)))


def _long(rows: DataFrame, features: Sequence[str]) -> DataFrame:
    """A row per row and feature: `feature`, `value`."""
    numbers = rows.select(*(F.col(name).cast("double") for name in features))
    return numbers.unpivot([], list(features), "feature", "value")
