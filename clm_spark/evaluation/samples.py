"""Customers on the driver, with what each model predicted for them: what the bootstrap draws from.

A sample holds 100,000 customers at most. Its figures are computed some hundred times, in memory; at 100,000 the interval
of an AUC is below 0.01 wide, and one from more customers would only be narrower: that of a sample errs to the safe side.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.draws import share_to_draw
from clm_spark.errors import ModelError, TooLittleDataError
from clm_spark.evaluation.curves import Curve
from clm_spark.evaluation.offers import Offer

Floats = NDArray[np.float64]
Counts = NDArray[np.float64]  # whole numbers

MOST_CUSTOMERS = 100_000

# Groups of customers by name: the column that decides, and what group each of its values is in.
Groups = Mapping[str, tuple[str, Callable[[pd.Series], pd.Series]]]


class Sample(Protocol):
    """Figures of several models over the same customers."""

    @property
    def num_customers(self) -> int:
        """How many customers can be drawn."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models that can be compared."""

    def figures(self, models: Sequence[str], metrics: Sequence[str], counts: Counts) -> Floats:
        """Model x metric, each customer counted as often as `counts` says; NaN where a metric has no value."""


@dataclass(frozen=True)
class Means:
    """Figures that are means over customers: customer x model x metric."""

    values: Floats
    models: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def num_customers(self) -> int:
        """How many customers can be drawn."""
        return len(self.values)

    def figures(self, models: Sequence[str], metrics: Sequence[str], counts: Counts) -> Floats:
        """The means, weighted by `counts`."""
        means = np.einsum("c,cmk->mk", counts, self.values) / counts.sum()
        chosen = np.ix_([self.models.index(m) for m in models], [self.metrics.index(m) for m in metrics])
        return np.asarray(means[chosen])


@dataclass(frozen=True)
class ScoredLabels:
    """Figures of scores beside what happened, from one curve per model."""

    curves: Mapping[str, Curve]
    num_customers: int
    groups: Mapping[tuple[str, str], "ScoredLabels"] = field(default_factory=dict)  # by slice and its value

    @property
    def models(self) -> tuple[str, ...]:
        """The models that can be compared."""
        return tuple(self.curves)

    def figures(self, models: Sequence[str], metrics: Sequence[str], counts: Counts) -> Floats:
        """The metrics of `classification_metrics`, weighted by `counts`."""
        found = [self.curves[model].figures(counts) for model in models]
        return np.array([[of_model[metric] for metric in metrics] for of_model in found])


def sampled_means(per_customer: DataFrame, *, seed: int, most: int = MOST_CUSTOMERS) -> Means:
    """A sample of one row per model and customer, every further column a metric."""
    rows = drawn_rows(per_customer, seed=seed, most=most)
    metrics = tuple(name for name in per_customer.columns if name not in ("model", "customer_id"))
    of_model = {model: group[list(metrics)].to_numpy(dtype=float) for model, group in of_models(rows)}
    return Means(np.stack(list(of_model.values()), axis=1), tuple(of_model), metrics)


def sampled_labels(
    scored: DataFrame,
    *,
    seed: int,
    most: int = MOST_CUSTOMERS,
    offer: Offer | None = None,
    slices: Groups | None = None,
) -> ScoredLabels:
    """A sample of model, customer_id, score and is_positive; a customer's rows of several days are drawn together.

    With `slices`, `groups` has the customers of each group.
    """
    by = slices or {}
    columns = ("model", "customer_id", "score", "is_positive", *(column for column, _ in by.values()))
    rows = drawn_rows(scored.select(*columns), seed=seed, most=most)
    groups = {
        (name, str(group)): _labels(of_group, offer)
        for name, (column, group_of) in by.items()
        for group, of_group in rows.groupby(group_of(rows[column]), observed=True)
    }
    return replace(_labels(rows, offer), groups=groups)


def _labels(rows: pd.DataFrame, offer: Offer | None) -> ScoredLabels:
    numbered = rows.assign(_customer=pd.factorize(rows["_customer"], sort=True)[0])
    curves = {
        model: Curve.of(
            group["score"].to_numpy(dtype=float),
            group["is_positive"].to_numpy(dtype=bool),
            customers=group["_customer"].to_numpy(),
            tie_order=group["_hash"].to_numpy(),
            offer=offer,
        )
        for model, group in of_models(numbered)
    }
    return ScoredLabels(curves, num_customers=int(numbered["_customer"].max()) + 1)


def drawn_rows(rows: DataFrame, *, seed: int, most: int) -> pd.DataFrame:
    """The rows of `most` customers chosen by hash, in their order, numbered in `_customer`."""
    hashed = rows.withColumns(
        {
            "_hash": F.xxhash64("customer_id"),
            "_draw": F.shiftrightunsigned(F.xxhash64("customer_id", F.lit(seed)), 2),
        }
    )
    num_customers = hashed.agg(F.approx_count_distinct("customer_id", 0.01)).collect()[0][0]
    # More than wanted: the count is not exact, and neither is a share by hash.
    share = share_to_draw(most, num_customers)
    drawn = hashed.where(F.col("_draw") < F.lit(int(share * 2**62))).toArrow().to_pandas()
    drawn = drawn.sort_values(["_draw", "customer_id"], kind="stable")
    drawn["_customer"] = pd.factorize(drawn["customer_id"])[0]
    chosen: pd.DataFrame = drawn[drawn["_customer"] < most]
    _check_same_customers(chosen)
    return chosen


def of_models(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each model's rows of a sample."""
    for model, group in rows.groupby("model"):
        yield str(model), group


def _check_same_customers(rows: pd.DataFrame) -> None:
    customers = {model: group["_customer"].to_numpy() for model, group in of_models(rows)}
    if not customers:
        raise TooLittleDataError("models cannot be compared: no customer was tested")
    first = next(iter(customers))
    for model, tested in customers.items():
        if not np.array_equal(tested, customers[first]):
            raise ModelError(
                f"models cannot be compared: {first} and {model} were not tested on the same customers, "
                f"{len(customers[first])} and {len(tested)} of the sample; every model has to score all of them"
            )
