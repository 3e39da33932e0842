"""Settings that a classifier chooses in its own training: by later days, from what earlier ones said."""

import itertools
import logging
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any, Self, TypeVar

from pydantic import Field, ValidationError, model_validator
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.evaluation.classification import classification_metrics
from clm_spark.session import persisted
from clm_spark.settings import Section

log = logging.getLogger(__name__)

MOST_TRIED = 50  # combinations; each is a fit per day it is tried on
Scored = Callable[[Any, DataFrame, DataFrame], DataFrame]  # of a section, rows to fit and rows to score

Chosen = TypeVar("Chosen", bound="Tunable")


class Tunable(Section):
    """A section of which some settings may be chosen in the training."""

    grid: dict[str, tuple[float, ...]] = Field(
        {},
        description="values to choose from, by the name of another setting of this section, e.g. {regularization: [0.01, "
        "0.1]}: the best by average precision on later panel days, once earlier ones have taught it; empty: nothing is tried",
    )

    @model_validator(mode="after")
    def _grid_fits(self) -> Self:
        if not self.grid:
            return self
        own = type(self).model_fields.keys() - {"grid"}
        for name, values in self.grid.items():
            if name not in own:
                raise ValueError(
                    f"grid names {name!r}, which is no setting of {self.key}: expected one of {', '.join(sorted(own))}"
                )
            if not values:
                raise ValueError(f"grid has no value for {name}: give some, or leave it out")
        try:
            num_tried = len(list(self.variants()))
        except ValidationError as error:
            raise ValueError(f"grid: {error.errors()[0]['msg']}") from None
        if num_tried > MOST_TRIED:
            raise ValueError(f"grid has {num_tried} combinations: expected at most {MOST_TRIED}")
        return self

    def variants(self) -> Iterator[Self]:
        """A section for each combination of the grid, without a grid."""
        held = self.model_dump(exclude={"grid"})
        for values in itertools.product(*self.grid.values()):
            yield type(self)(**held | dict(zip(self.grid, values, strict=True)))


def choose(section: Chosen, rows: DataFrame, *, horizon_days: int, scored: Scored, name: str) -> Chosen:
    """The variant of the highest mean average precision over days that it has not learned from; equal ones: the first.

    `rows` have as_of and `label`; `scored` fits by a section to some of them, and gives `rawPrediction` and `label` for others.
    A day is tried where earlier days are known whose horizon had ended by then, and both have customers of both kinds.
    """
    variants = list(section.variants())
    if len(variants) == 1:
        return variants[0]
    tried = list(_tried_days(rows, horizon_days=horizon_days))
    if not tried:
        log.warning(
            "%s: no panel day can be tried on, so its grid is left alone: it takes days of both outcomes that are further apart "
            "than the horizon of %d days (features.panel_size)", name, horizon_days
        )  # fmt: skip
        return section.model_copy(update={"grid": {}})
    found = {}
    for place, variant in enumerate(variants):
        by_day = [
            _average_precision(
                scored(variant, _closed(rows, day, horizon_days), rows.where(F.col("as_of") == F.lit(day)))
            )
            for day in tried
        ]
        found[place] = sum(by_day) / len(by_day)
    best = max(found, key=lambda place: (found[place], -place))
    told = ", ".join(f"{setting} {getattr(variants[best], setting):g}" for setting in section.grid)
    log.info(
        "%s takes %s: mean average precision %.4f on %d later days, the others %.4f to %.4f", name, told, found[best],
        len(tried), min(found.values()), max(value for place, value in found.items() if place != best),
    )  # fmt: skip
    return variants[best]


def _average_precision(scored: DataFrame) -> float:
    """As the gate reckons it. MLlib's own area draws straight lines between the points of a curve, which flatters few leaves."""
    named = scored.select(
        F.lit("variant").alias("model"),
        "customer_id",
        vector_to_array(F.col("rawPrediction"))[1].alias("score"),
        (F.col("label") > 0).alias("is_positive"),
    )
    with persisted(named) as rows:
        (row,) = classification_metrics(rows).where("metric = 'average_precision'").collect()
    return float(row["value"])


def _tried_days(rows: DataFrame, *, horizon_days: int) -> Iterator[date]:
    kinds = F.count_distinct("label").alias("kinds")
    days = {row["as_of"] for row in rows.groupBy("as_of").agg(kinds).where("kinds = 2").collect()}  # of a panel
    for day in sorted(days):
        if any(earlier + timedelta(days=horizon_days) <= day for earlier in days):
            yield day


def _closed(rows: DataFrame, day: date, horizon_days: int) -> DataFrame:
    return rows.where(F.col("as_of") <= F.lit(day - timedelta(days=horizon_days)))
