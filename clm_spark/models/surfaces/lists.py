"""From a customer's ranked candidates to a list per surface, and what the rules removed."""

import json
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.surfaces.rules import with_place, with_removed_by
from clm_spark.settings import Settings
from clm_spark.tables.catalog import SURFACES

ASKED = (
    "array<struct<surface: string, length: int, permission: string, hidden_categories: array<string>, repeat_share: double, "
    "price_band: array<double>, max_impressions: int, max_per_category: int, max_per_brand: int, min_new: int, "
    "sponsored_places: array<int>>>"
)


def num_candidates(settings: Settings) -> int:
    """Ranked candidates of a customer that the longest list can be chosen from."""
    return max(settings.surfaces.num_candidates, *(length_of(settings, surface) for surface in SURFACES))


def length_of(settings: Settings, surface: str) -> int:
    """Items of the surface's list."""
    length = getattr(settings.surfaces, surface).length
    return int(settings.recommend.top_k if length is None else length)


def ruled(candidates: DataFrame, settings: Settings) -> DataFrame:
    """One row per candidate and surface with a list: `surface`, its settings as `asked`, and `removed_by`.

    Needs `customer_id`, `rank` and the facts of `facts.py`.
    """
    asked = [_asked_of(settings, surface) for surface in SURFACES if length_of(settings, surface)]
    surfaces = F.explode(F.from_json(F.lit(json.dumps(asked)), ASKED))
    on_surfaces = candidates.withColumn("asked", surfaces).withColumn("surface", F.col("asked.surface"))
    return with_removed_by(on_surfaces)


def _asked_of(settings: Settings, surface: str) -> dict[str, Any]:
    """The surface's settings as a row of `ASKED`."""
    asked, length = getattr(settings.surfaces, surface).model_dump(), length_of(settings, surface)
    min_new = length if asked["min_new"] == "all" else asked["min_new"]
    return {**asked, "surface": surface, "length": length, "min_new": min_new}


def lists_of(candidates: DataFrame) -> DataFrame:
    """One row per customer, surface and rank, from rows of `ruled`: the kept ones, anew from rank 1, to the list's length."""
    placed = with_place(candidates.where(F.col("removed_by").isNull()))
    shown = placed.where(F.col("place") <= F.col("asked.length"))
    return shown.withColumns({"rank": F.col("place"), "is_sponsored": F.col("has_paid_place")})


def exclusions_of(candidates: DataFrame) -> DataFrame:
    """One row per surface and rule that removed something, from rows of `ruled`, as gold.recommendation_exclusions has them."""
    removed = candidates.where(F.col("removed_by").isNotNull())
    return removed.groupBy("surface", F.col("removed_by").alias("rule")).agg(
        F.count("*").alias("num_candidates"),
        F.count_if(F.col("rank") <= F.col("asked.length")).alias("num_shown_without"),
        F.count_distinct("customer_id").alias("num_customers"),
    )
