"""Factors as rows: gold.factor_loadings and gold.customer_factors."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.evaluation.samples import Floats
from clm_spark.models.factors.analysis import Factors, fit_factors, in_words, numbered_as
from clm_spark.models.factors.measures import MEASURES, sampled_measures, values_of
from clm_spark.settings import FactorSettings
from clm_spark.tables.catalog import FACTOR_LOADINGS

SCORES = "customer_id string, factor int, score double"
Batches = Iterable[pa.RecordBatch]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InUse:
    """The factors that count on a day, and the day on which they were fitted."""

    factors: Factors
    fitted_on: date
    first_free: int  # above the numbers of all factors that ever were


def factors_for(
    customers: DataFrame, before: DataFrame | None, *, as_of: date, settings: FactorSettings
) -> InUse | None:
    """The factors that count on as_of; None where there is too little for any.

    `before` are rows of gold.factor_loadings up to the day before. Its last factors stay until they are
    `refit_every_days` old; those of a new fit take over their numbers and signs where they load alike.
    """
    last = _last_factors(before) if before is not None else None
    if last is not None and as_of < last.fitted_on + timedelta(days=settings.refit_every_days):
        return last
    sample = sampled_measures(customers, most=settings.sample_customers, seed=settings.seed)
    found = fit_factors(sample, tuple(MEASURES), settings=settings)
    if found is None:
        log.info("no factors: fewer than %d customers, or measures that hardly differ", settings.min_customers)
        return None
    if last is not None:
        found = numbered_as(found, last.factors, first_free=last.first_free, settings=settings)
    return InUse(found, as_of, first_free=max(found.numbers) + 1)


def loadings_of(spark: SparkSession, found: InUse | None, *, as_of: date) -> DataFrame:
    """One row per factor and measure, as gold.factor_loadings declares."""
    rows = [] if found is None else [*_rows(found, as_of)]
    return spark.createDataFrame(rows, FACTOR_LOADINGS.schema)


def customer_scores(customers: DataFrame, factors: Factors | None) -> DataFrame:
    """One row per customer and factor: `score`, a product of two matrices on the workers.

    In the factor's standard deviations, 0 being the mean of the customers that it was fitted to.
    """
    if factors is None:
        return customers.sparkSession.createDataFrame([], SCORES)
    values = values_of(factors.features, [float(each) for each in factors.mean]).alias("measures")
    return customers.select("customer_id", values).mapInArrow(_scoring(factors), SCORES)


def _rows(found: InUse, as_of: date) -> Iterator[tuple[object, ...]]:
    factors = found.factors
    for place, number in enumerate(factors.numbers):
        loadings = dict(zip(factors.features, map(float, factors.loadings[place]), strict=True))
        of_factor = {
            "factor": number,
            "words": in_words(loadings, MEASURES),
            "as_of": as_of,
            "fitted_on": found.fitted_on,
        }
        for at, name in enumerate(factors.features):
            row = of_factor | {
                "feature": name,
                "loading": loadings[name],
                "weight": float(factors.weights[place, at]),
                "mean": float(factors.mean[at]),
                "deviation": float(factors.deviation[at]),
            }
            yield tuple(row[column] for column in FACTOR_LOADINGS.schema.names)


def _scoring(factors: Factors) -> Callable[[Batches], Batches]:
    def score(batches: Batches) -> Iterator[pa.RecordBatch]:
        numbers = np.array(factors.numbers, dtype=np.int32)
        for batch in batches:
            measures = np.asarray(batch.column("measures").flatten()).reshape(batch.num_rows, len(factors.features))
            scores = (measures - factors.mean) / factors.deviation @ factors.weights.T
            whose = np.repeat(np.arange(batch.num_rows), len(numbers))
            columns = [
                batch.column("customer_id").take(pa.array(whose)),
                pa.array(np.tile(numbers, batch.num_rows)),
                pa.array(scores.reshape(-1)),
            ]
            yield pa.RecordBatch.from_arrays(columns, names=["customer_id", "factor", "score"])

    return score


def _last_factors(loadings: DataFrame) -> InUse | None:
    """Those of the last as_of; bounded by factors times measures. None where a release has dropped one of their measures."""
    last = loadings.agg(F.max("as_of").alias("as_of"), F.max("factor").alias("highest"))
    rows = {(row.factor, row.feature): row for row in loadings.join(F.broadcast(last), on="as_of").collect()}
    known = {feature for _, feature in rows}
    if not rows or not known <= MEASURES.keys():
        return None
    numbers, features = tuple(sorted({factor for factor, _ in rows})), tuple(name for name in MEASURES if name in known)

    def of(column: str) -> Floats:
        return np.array([[rows[number, name][column] for name in features] for number in numbers])

    factors = Factors(numbers, features, of("loading"), of("weight"), of("mean")[0], of("deviation")[0])
    any_row = next(iter(rows.values()))
    return InUse(factors, any_row.fitted_on, first_free=any_row.highest + 1)
