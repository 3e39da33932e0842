"""Maximum likelihood on sums: the driver sees the log-likelihood and its gradient, never a customer.

A law's rows are counted first, so that customers of the same history are one row with `num_customers`. Some millions of rows
are summed in memory; more of them by partition, in Arrow batches, once for each step of the search.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from scipy.optimize import minimize

from clm_spark.errors import TooLittleDataError
from clm_spark.machine import num_cores

Floats = NDArray[np.float64]
Terms = Callable[[Floats, Sequence[Floats]], tuple[Floats, Floats]]  # of parameters and columns
Total = Callable[[Floats], tuple[float, Floats]]  # log-likelihood and gradient of all customers

COUNT = "num_customers"
MOST_ROWS_HELD = 5_000_000  # some 160 MB; counted rows, however many customers they stand for
ROWS_AT_ONCE = 32_768  # of those in memory: what is worked out on the way stays in the processor's cache
MOST_STEPS = 500
FURTHEST = 14.0  # from zero that a parameter's logarithm may go: 1.2 million, or one in it
STEP = 1e-4  # of the logarithms, for the second derivatives
WEAKEST = 1e-2  # precision of a logarithm that the data say nothing of: its standard error is 10


@dataclass(frozen=True)
class Fitted:
    """Parameters of the highest likelihood, and the covariance of their logarithms."""

    parameters: Floats
    covariance: Floats
    log_likelihood: float
    num_customers: int


def fit_by_likelihood(total: Total, start: Floats, *, num_customers: int) -> Fitted:
    """Climb from `start` by L-BFGS over the parameters' logarithms. Raises `TooLittleDataError` where there is no top.

    The covariance is the inverse of the observed information, the second derivatives by central differences of the
    analytic gradient. Along a direction that the data say nothing of, the standard error of a logarithm is held to 10.
    """

    def loss(logs: Floats) -> tuple[float, Floats]:
        value, gradient = total(np.exp(logs))
        return -value / num_customers, -gradient * np.exp(logs) / num_customers

    limits = [(-FURTHEST, FURTHEST)] * len(start)
    # Customers' means are of the order of one: what is asked for is close to what doubles can tell.
    exact = {"maxiter": MOST_STEPS, "maxfun": 4 * MOST_STEPS, "ftol": 1e-15, "gtol": 1e-9, "maxls": 50}
    found = minimize(loss, np.log(start), jac=True, method="L-BFGS-B", bounds=limits, options=exact)
    if not np.isfinite(found.fun):
        raise TooLittleDataError(f"the likelihood of {num_customers} customers has no highest point")
    columns = [(loss(found.x + step)[1] - loss(found.x - step)[1]) / (2 * STEP) for step in STEP * np.eye(len(start))]
    second = np.stack(columns)
    values, directions = np.linalg.eigh((second + second.T) / 2 * num_customers)
    covariance = directions / np.maximum(values, WEAKEST) @ directions.T
    return Fitted(np.exp(found.x), covariance, -float(found.fun) * num_customers, num_customers)


def total_of(rows: DataFrame, terms: Terms) -> Total:
    """The log-likelihood of all rows and its gradient. `rows` are doubles, the last column `num_customers`; persist them.

    Rows are added in a fixed order: the same rows give the same parameters.
    """
    if rows.count() <= MOST_ROWS_HELD:
        held = rows.toArrow()
        return total_of_arrays([held[name].to_numpy() for name in rows.columns], terms)
    return total_of_partitions(rows, terms)


def total_of_arrays(columns: Sequence[Floats], terms: Terms) -> Total:
    """As `total_of`, from columns in memory, in blocks that the processor's cores share; the first column is sorted by first."""
    order = np.lexsort(tuple(reversed(columns)))
    blocks = [
        [column[rows] for column in columns] for rows in np.split(order, range(ROWS_AT_ONCE, len(order), ROWS_AT_ONCE))
    ]

    def total(parameters: Floats) -> tuple[float, Floats]:
        if len(blocks) == 1:
            return _added([_sums(terms, parameters, blocks[0])])
        with ThreadPoolExecutor(num_cores()) as threads:  # numpy works outside of Python's lock
            return _added(list(threads.map(lambda block: _sums(terms, parameters, block), blocks)))

    return total


def _sums(terms: Terms, parameters: Floats, block: Sequence[Floats]) -> list[float]:
    *columns, counts = block
    values, gradient = terms(parameters, columns)
    return [float(values @ counts), *map(float, gradient @ counts)]


def _added(sums: Sequence[Sequence[float]]) -> tuple[float, Floats]:
    value, *gradient = (math.fsum(each) for each in zip(*sums, strict=True))
    return value, np.array(gradient)


def total_of_partitions(rows: DataFrame, terms: Terms) -> Total:
    """As `total_of`, a sum per partition of `rows`, whose order within a partition should be fixed."""

    def total(parameters: Floats) -> tuple[float, Floats]:
        def summed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            sums = np.zeros(len(parameters) + 1)
            for batch in batches:
                sums += _sums(terms, parameters, [column.to_numpy() for column in batch.columns])
            yield pa.RecordBatch.from_pydict({"sums": [sums.tolist()]})

        found = rows.mapInArrow(summed, "sums array<double>").toArrow()["sums"].to_pylist()  # a row per partition
        return _added(found)

    return total
