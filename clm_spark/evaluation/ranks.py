"""Who ranks where by a score: places, tenths and running sums, without a task that sorts everybody.

Rows are cut into slices of the score, so that each slice lies wholly above the next. What a row needs to know of the
slices above it is their sums, and there are at most some 1,500 slices; only the rows of one slice are sorted together.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

DECILES = 10
STEPS = 9  # of the search for a row's slice
EDGES = 2**STEPS - 1
SAMPLED = (
    4096  # scores per group that the edges are taken from: no slice is more than some times as large as it should be
)
HASH_BITS = 31


def with_place(rows: DataFrame, *, score: str, within: Sequence[str]) -> DataFrame:
    """Add `place` (0: the highest score) and `num_ranked` (rows of the group) within each value of `within`.

    Needs one row per `customer_id` within a group. Equal scores stand in the order of a hash of the customer: an order
    that has nothing to do with the answer and is the same every time. A null or NaN score comes last, below minus
    infinity. `rows` are read three times, and have to be the same rows each time.
    """
    counted = with_running_sums(rows, {"_num": F.lit(1)}, score=score, within=within, key="customer_id")
    return counted.select(
        *rows.columns, (F.col("_num_running") - 1).alias("place"), F.col("_num_total").alias("num_ranked")
    )


def with_decile(rows: DataFrame, *, score: str, within: Sequence[str]) -> DataFrame:
    """Add `decile`: 1 where less than a tenth of the group ranks above, 2 where less than two tenths do, up to 10.

    Ranks are those of `with_place`. Deciles differ by one customer at most, and mean the same at any number of
    customers: of three, the best is in decile 1, the second has a third above it and is in 4, the last is in 7.
    `ntile` would put them into 1, 2 and 3, as if seven tenths of the shop ranked below the last.
    """
    placed = with_place(rows, score=score, within=within)
    decile = F.floor(F.col("place") * DECILES / F.col("num_ranked")) + 1
    return placed.select(*rows.columns, decile.cast("int").alias("decile"))


def with_running_sums(
    rows: DataFrame, columns: Mapping[str, Column], *, score: str, within: Sequence[str], key: str
) -> DataFrame:
    """Add `NAME_running`, the sum over the row and all that rank above it, and `NAME_total`, that over the group.

    Rows rank as in `with_place`, with `key` for the customer: unique within a group. The columns of `within` are never
    null.
    """
    sliced = with_slice(rows.withColumns(dict(columns)), score=score, within=within, key=key)
    sums = sliced.groupBy(*within, "_slice").agg(*(F.sum(name).alias(f"_{name}") for name in columns))
    all_above = Window.partitionBy(*within).orderBy("_slice").rowsBetween(Window.unboundedPreceding, -1)
    above = sums.select(
        *(F.col(name).alias(f"_of_{name}") for name in (*within, "_slice")),
        *(F.coalesce(F.sum(f"_{name}").over(all_above), F.lit(0)).alias(f"_{name}_above") for name in columns),
        *(F.sum(f"_{name}").over(Window.partitionBy(*within)).alias(f"{name}_total") for name in columns),
    )
    order = [F.desc("_score"), F.col("_hash"), F.col(key)]
    upto = Window.partitionBy(*within, "_slice").orderBy(*order).rowsBetween(Window.unboundedPreceding, 0)
    running = sliced.withColumns({f"_{name}_upto": F.sum(name).over(upto) for name in columns})
    # A plain equality would have Spark look for null slices first, and compute every slice once more for that.
    same = reduce(and_, (F.col(name).eqNullSafe(F.col(f"_of_{name}")) for name in (*within, "_slice")))
    joined = running.join(F.broadcast(above), on=same, how="inner")
    return joined.select(
        *rows.columns,
        *((F.col(f"_{name}_above") + F.col(f"_{name}_upto")).alias(f"{name}_running") for name in columns),
        *(f"{name}_total" for name in columns),
    )


def with_slice(rows: DataFrame, *, score: str, within: Sequence[str], key: str) -> DataFrame:
    """Add `_slice`, ascending from the highest scores; `_score`, the score to order by; and `_hash`, for equal ones.

    A score that fills several slices is cut by bits of the hash.
    """
    hashed = rows.withColumns({"_score": ranked_score(score), "_hash": F.xxhash64(key)})
    found = _beside(hashed, _edges(hashed, within), within).withColumn("_higher", _num_higher("_edges", "_score"))
    is_edge = F.get("_edges", "_higher") == F.col("_score")
    of_score = (2 * F.col("_higher") + F.when(is_edge, 1).otherwise(0)) * (EDGES + 1)
    cuts = F.when(F.col("_score").isNull(), EDGES).when(is_edge, F.get("_repeats", "_higher")).otherwise(1)
    bits = F.shiftright("_hash", 64 - HASH_BITS) + F.lit(2 ** (HASH_BITS - 1))  # ascending with the hash, from 0 on
    after_all = F.lit(2 * (EDGES + 1) ** 2)
    first = F.when(F.col("_score").isNull(), after_all).otherwise(of_score)
    return found.withColumn("_slice", first + F.shiftright(bits * cuts, HASH_BITS)).drop(
        "_edges", "_repeats", "_higher"
    )


def _num_higher(descending: str, score: str) -> Column:
    """How many of the numbers are higher than the score, by binary search."""
    steps = F.array(*(F.lit(2**power) for power in reversed(range(STEPS))))
    return F.aggregate(
        steps,
        F.lit(0),
        lambda found, step: found + F.when(F.get(descending, found + step - 1) > F.col(score), step).otherwise(0),
    )


def ranked_score(score: str) -> Column:
    """The score as it ranks: NaN is null, and zero has no sign."""
    return F.nanvl(F.col(score).cast("double") + F.lit(0.0), F.lit(None).cast("double"))


def _edges(hashed: DataFrame, within: Sequence[str]) -> DataFrame:
    """Per group, `_edges`: scores from the highest down, about as many rows between any two; `_repeats`: of each.

    `_repeats` counts how many slices a score fills. The edges are quantiles of a sample, the row of the lowest hash out
    of each bucket: unlike `percentile_approx` it does not depend on the order in which tasks end. That matters, since
    Spark may compute the edges once for the sums and once for the rows.
    """
    # Hashed with the score: were a key not unique, the same row would still be drawn.
    drawn = hashed.withColumn("_draw", F.xxhash64("_hash", "_score"))
    sample = drawn.groupBy(*within, F.pmod("_draw", F.lit(SAMPLED)).alias("_bucket")).agg(
        F.min_by("_score", "_draw").alias("_score")
    )
    sorted_sample = F.sort_array(F.collect_list("_score"), asc=False)
    quantiles = sample.groupBy(*within).agg(sorted_sample.alias("_sample")).withColumn(
        "_quantiles",
        F.transform(
            F.sequence(F.lit(1), F.lit(EDGES)),
            lambda number: F.get("_sample", F.floor(number * F.size("_sample") / (EDGES + 1)).cast("int")),
        ),
    )  # fmt: skip
    counted = quantiles.withColumn("_edges", F.array_distinct("_quantiles")).withColumn(
        "_repeats",
        F.transform("_edges", lambda edge: F.size(F.filter("_quantiles", lambda quantile: quantile == edge))),
    )
    return counted.select(*within, "_edges", "_repeats")


def _beside(rows: DataFrame, of_group: DataFrame, within: Sequence[str]) -> DataFrame:
    small = F.broadcast(of_group)
    return rows.join(small, on=list(within), how="inner") if within else rows.crossJoin(small)
