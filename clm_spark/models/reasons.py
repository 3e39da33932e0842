"""Why a customer's score is what it is: the features that moved it most, in words."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.tables.catalog import CUSTOMER_FEATURES
from clm_spark.tables.contract import Column as Contract

CONTRIBUTIONS = "contributions"
MOST_REASONS = 3


def with_reasons(scored: DataFrame, *, features: Sequence[str], slope: float, outcome: str) -> DataFrame:
    """Add `reasons`: the features that moved the score most, first the one that did most, three at most.

    `scored` has `contributions`, what each of `features` adds to the margin, in their order, and the features
    themselves. `slope` is that of the calibration: below 0 it turns every direction round. `outcome` says what the
    score is the probability of. A feature that moved nothing is no reason.
    """
    if slope == 0:  # nothing that the model knows moves the score
        return scored.withColumn("reasons", F.array().cast("array<string>"))
    phrases = F.array(*(figure_in_words(name) for name in features))
    moved = F.transform(
        CONTRIBUTIONS, lambda by, place: F.struct(F.abs(by).alias("by"), place.alias("at"), (by > 0).alias("up"))
    )
    most = F.slice(F.sort_array(F.filter(moved, lambda each: each["by"] > 0), asc=False), 1, MOST_REASONS)
    ways = [
        f", makes {outcome} {way}"
        for way in (("more likely", "less likely") if slope > 0 else ("less likely", "more likely"))
    ]
    told = F.transform(
        most,
        lambda each: F.concat(F.get("_phrases", each["at"]), F.when(each["up"], ways[0]).otherwise(ways[1])),
    )
    return scored.withColumn("_phrases", phrases).withColumn("reasons", told).drop("_phrases")


def feature_words(name: str) -> str:
    """What the feature's declaration says it is, without when it is null."""
    return _declared(name).comment.split(";")[0]


def _declared(name: str) -> Contract:
    return next(column for column in CUSTOMER_FEATURES.columns if column.name == name)


def figure_in_words(name: str) -> Column:
    """The feature in words and the customer's value, by the unit that the name's ending says."""
    column, value = _declared(name), F.col(name)
    if column.name.endswith("_cents"):
        text = F.format_number(value / 100, 2)
    elif column.name.endswith("_share"):
        text = F.concat(F.format_number(value * 100, 0), F.lit(" %"))
    else:
        text = F.format_number(value, 0 if isinstance(column.type, T.LongType) else 1)
    return F.concat(F.lit(f"{feature_words(column.name)}: "), F.coalesce(text, F.lit("unknown")))
