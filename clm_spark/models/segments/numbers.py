"""Which number a segment gets, and which it keeps when segments are fitted again."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.optimize import linear_sum_assignment


def numbers_for(clustered: DataFrame, k: int, *, in_use: DataFrame | None, first_free: int) -> list[int]:
    """The number of each of the clusters 0 to k - 1. Bounded by k, and by k times the segments in use.

    Needs `customer_id`, `prediction` and `net_revenue_90d_cents`; `in_use` has `segment` for the same customers. Without
    it, 0 is the cluster with the highest mean revenue. With it, each cluster takes the number of the segment that holds
    most of its customers; further ones get new numbers, from `first_free` on: a number that was ever used means the same
    customers for good.
    """
    numbers = _by_revenue(clustered) if in_use is None else _as_in_use(clustered, in_use, first_free)
    free = itertools.count(max([first_free - 1, *numbers.values()]) + 1)
    return [numbers[prediction] if prediction in numbers else next(free) for prediction in range(k)]


def match_numbers(overlap: NDArray[np.integer], in_use: Sequence[int], first_free: int = 0) -> tuple[int, ...]:
    """The number of each new cluster: that of the segment in use whose customers it holds.

    `overlap` has a row per number of `in_use` and a column per new cluster: how many customers are in both. Pairs are
    chosen so that as many customers as possible keep their number (Kuhn 1955). A cluster that shares nobody with what
    is left gets the next free number, above all in use and from `first_free` on: a number that goes out of use is not given to
    other people.
    """
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    matched = {int(new): in_use[old] for old, new in zip(rows, columns, strict=True) if overlap[old, new] > 0}
    free = itertools.count(max([first_free, *(number + 1 for number in in_use)]))
    return tuple(matched[new] if new in matched else next(free) for new in range(overlap.shape[1]))


def _by_revenue(clustered: DataFrame) -> dict[int, int]:
    """Clusters are numbered by chance; ours go from the highest mean revenue down."""
    revenue = clustered.groupBy("prediction").agg(F.avg("net_revenue_90d_cents").alias("mean")).collect()
    ranked = sorted(revenue, key=lambda row: (-row["mean"], row.prediction))
    return {row.prediction: number for number, row in enumerate(ranked)}


def _as_in_use(clustered: DataFrame, in_use: DataFrame, first_free: int) -> dict[int, int]:
    """The number in use for each new cluster, by the customers they share."""
    now = in_use.select("customer_id", "segment")
    both = clustered.select("customer_id", "prediction").join(now, on="customer_id", how="inner")
    counted = both.groupBy("segment", "prediction").agg(F.count("*").alias("n")).collect()
    old, new = (sorted({row[name] for row in counted}) for name in ("segment", "prediction"))
    overlap = np.zeros((len(old), len(new)), dtype=np.int64)
    for row in counted:
        overlap[old.index(row["segment"]), new.index(row["prediction"])] = row["n"]
    return dict(zip(new, match_numbers(overlap, old, first_free), strict=True))
