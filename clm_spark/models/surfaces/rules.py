"""The business rules: which of a customer's ranked candidates a surface does not show, and why.

Rows are candidates by `customer_id`, `surface` and `rank`, with `asked`, the surface's settings as a struct, and the facts
of `facts.py`. What is not known removes nothing, but for a permission.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from clm_spark.tables.catalog import RULES

YEAR_DAYS = 365


def is_sold_out() -> Column:
    """Stock: the shop counts no unit."""
    return F.col("num_in_stock") <= 0


def is_excluded() -> Column:
    """Exclusion: the shop recommends it nowhere."""
    return F.col("is_excluded")


def lacks_permission() -> Column:
    """Permission: the surface writes on a channel that the customer did not agree to."""
    return F.col("asked.permission").isNotNull() & ~F.coalesce(
        F.array_contains("channels", F.lower("asked.permission")), F.lit(False)
    )


def is_in_hidden_category() -> Column:
    """Hidden category: one that the surface does not show."""
    return F.array_contains("asked.hidden_categories", F.col("category"))


def was_bought_lately() -> Column:
    """Repeat interval: too few of the usual days since the last purchase known, or one that nobody makes twice."""
    is_early = F.col("bought_days_ago") < F.col("asked.repeat_share") * F.col("gap_days")
    is_for_good = F.col("bought_days_ago").isNotNull() & F.col("gap_days").isNull()
    return F.col("asked.repeat_share").isNotNull() & (is_early | is_for_good)


def is_out_of_price_band() -> Column:
    """Price band: far cheaper or dearer than what the customer buys."""
    ratio = F.try_divide(F.col("price_cents"), F.col("usual_price_cents"))
    return ~ratio.between(F.col("asked.price_band")[0], F.col("asked.price_band")[1])


def was_shown_too_often() -> Column:
    """Frequency cap: shown to the customer as often as allowed."""
    return F.col("num_impressions") >= F.col("asked.max_impressions")


ROW_RULES: Mapping[str, Callable[[], Column]] = {
    "stock": is_sold_out,
    "exclusion": is_excluded,
    "permission": lacks_permission,
    "hidden_category": is_in_hidden_category,
    "repeat_interval": was_bought_lately,
    "price_band": is_out_of_price_band,
    "frequency_cap": was_shown_too_often,
}

# Of the candidates that are left, at most so many of a group are kept; those whose group is null are not counted.
CAPS: Mapping[str, Callable[[], tuple[Column, Column]]] = {
    "category_cap": lambda: (F.col("category"), F.col("asked.max_per_category")),
    "brand_cap": lambda: (F.col("brand"), F.col("asked.max_per_brand")),
    "min_new": lambda: (
        F.when(F.col("bought_days_ago") <= YEAR_DAYS, F.lit("bought")),
        F.when(F.col("asked.min_new") > 0, F.col("asked.length") - F.col("asked.min_new")),
    ),
}


def with_removed_by(candidates: DataFrame) -> DataFrame:
    """Add `removed_by`, the first rule in the order of RULES that removes the candidate; null: it is kept.

    The caps take the candidates that no other rule removes in the order of their rank: one is kept where each cap has room
    for it, and only what is kept takes room.
    """
    first = F.coalesce(*(F.when(ROW_RULES[name](), F.lit(name)) for name in RULES if name in ROW_RULES))
    ruled = candidates.withColumn("removed_by", first)
    caps = [CAPS[name]() for name in RULES if name in CAPS]
    groups = F.when(F.col("removed_by").isNull(), F.array(*(group for group, _ in caps)))
    own = ("customer_id", "surface")
    # A list is as long as `lists.num_candidates` and the popular ones behind them: it fits into a row.
    entry = F.struct("rank", *(name for name in ruled.columns if name not in (*own, "rank")), groups.alias("_groups"))
    in_order = F.array_sort(F.collect_list(entry)).alias("_list")
    most = F.any_value(F.array(*(most.cast("int") for _, most in caps))).alias("_most")
    lists = ruled.groupBy(*own).agg(in_order, most)
    full = arrow_udf(_full_caps, "array<string>")(F.col("_list._groups"), "_most").alias("_full")  # type: ignore[call-overload]
    capped = lists.select(*own, F.inline(F.arrays_zip("_list", full)))
    removed_by = F.coalesce("_list.removed_by", "_full").alias("removed_by")
    kept = (name for name in candidates.columns if name not in own)
    return capped.select(*own, *(F.col(f"_list.{name}") for name in kept), removed_by)


def _full_caps(groups: pa.Array, most: pa.Array) -> pa.Array:
    """For each list of candidates, best first, the first cap that has no room for the candidate; null where it is kept.

    `groups` has each candidate's group by cap, null of a candidate that is removed already; `most` has what each cap allows.
    """
    names = [name for name in RULES if name in CAPS]

    def of_list(candidates: list[list[str | None] | None], limits: list[int | None]) -> list[str | None]:
        if limits.count(None) == len(limits):
            return [None] * len(candidates)
        num_kept: Counter[tuple[str, str]] = Counter()
        full = list[str | None]()
        for by_cap in candidates:
            own = [
                (name, group, limit)
                for name, group, limit in zip(names, by_cap or [], limits, strict=False)
                if group is not None and limit is not None
            ]
            over = next((name for name, group, limit in own if num_kept[name, group] >= limit), None)
            if over is None:
                num_kept.update((name, group) for name, group, _ in own)
            full.append(over)
        return full

    # A list at a time: as Python's objects those of a batch would take some times the batch.
    found = (of_list(of.as_py(), limits.as_py()) for of, limits in zip(groups, most, strict=True))
    return pa.array(found, pa.list_(pa.string()))


def with_place(kept: DataFrame) -> DataFrame:
    """Number the candidates that are kept from 1, in `place`; add `has_paid_place`.

    The best sponsored ones that the champion ranked (`is_ranked`) take `asked.sponsored_places`; the others fill the free
    places in the order of their rank.
    """
    own = Window.partitionBy("customer_id", "surface")
    is_sponsored = F.col("is_ranked") & F.coalesce("is_sponsored", F.lit(False))
    paid = F.filter("asked.sponsored_places", lambda place: place <= F.col("asked.length"))
    nth_sponsored = F.count_if(is_sponsored).over(own.orderBy("rank").rowsBetween(Window.unboundedPreceding, 0))
    placed = kept.withColumn("has_paid_place", is_sponsored & (nth_sponsored <= F.size(paid)))
    placed = placed.withColumn("_nth", F.row_number().over(own.orderBy("has_paid_place", "rank")))
    num_paid = F.count_if("has_paid_place").over(own).cast("int")
    # The n-th free place lies one further for each paid place that is not behind it.
    free = F.aggregate(F.slice(paid, 1, num_paid), F.col("_nth"), lambda place, taken: _beyond(place, taken))
    nth_paid = F.row_number().over(own.orderBy(F.desc("has_paid_place"), "rank"))
    wanted = F.when(F.col("has_paid_place"), F.get(paid, nth_paid - 1)).otherwise(free)
    # A paid place beyond the end of a short list is its last.
    in_order = own.orderBy("_wanted", "rank")
    return (
        placed.withColumn("_wanted", wanted).withColumn("place", F.row_number().over(in_order)).drop("_nth", "_wanted")
    )


def _beyond(place: Column, taken: Column) -> Column:
    return F.when(taken <= place, place + 1).otherwise(place)
