"""The law of a shop's purchases: BG/NBD and Gamma-Gamma fitted to it, and what takes their place where they cannot be."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.sums import exact_mean
from clm_spark.models.value import bg_nbd, gamma_gamma
from clm_spark.models.value.bg_nbd import BgNbd
from clm_spark.models.value.fit import Fitted, fit_by_likelihood, total_of
from clm_spark.models.value.gamma_gamma import GammaGamma
from clm_spark.models.value.histories import HISTORY, SPEND, counted, purchase_histories
from clm_spark.session import persisted

Floats = NDArray[np.float64]
Matrix = tuple[tuple[float, ...], ...]

PERIOD_DAYS = 30  # of the retention in the formula that lifetime value is checked with


@dataclass(frozen=True)
class Law:
    """What is known of how the shop's customers buy; `spend` is None where amounts have no such law.

    The covariances are those of the parameters' logarithms. `net_share` brings amounts of orders, none of which is below
    zero, to what remains after refunds beyond them, 0 where nothing does; `mean_order_cents` is the net revenue of a purchase day.
    """

    purchases: BgNbd
    purchases_covariance: Matrix
    purchases_log_likelihood: float
    spend: GammaGamma | None
    spend_covariance: Matrix
    mean_order_cents: float
    net_share: float
    retention: float  # of those who bought in one 30 days, the share that buys in the next
    num_customers: int
    num_repeat_customers: int

    def to_json(self) -> str:
        """The law as text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Law":
        """What `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        spend = values.pop("spend")
        purchases = BgNbd(**values.pop("purchases"))
        values |= {name: _matrix(values[name]) for name in ("purchases_covariance", "spend_covariance")}
        return cls(purchases=purchases, spend=GammaGamma(**spend) if spend else None, **values)


def fit_law(features: DataFrame, *, min_repeat_customers: int) -> Law:
    """Fit the law to one as_of of gold.customer_features. Raises `TooLittleDataError` where too few bought again."""
    with persisted(purchase_histories(features)) as histories:
        figures = _figures(histories, features)
        num_repeat = int(figures["num_repeat"])
        if num_repeat < min_repeat_customers:
            raise TooLittleDataError(
                f"no law of purchases can be fitted: {num_repeat} of {figures['num_customers']} buyers have bought on a "
                f"second day, and {min_repeat_customers} are needed; wait for them, or lower value.min_repeat_customers"
            )
        purchases = _fit_purchases(histories, age_weeks=figures["age_weeks"], num=figures["num_customers"])
        spend = _fit_spend(histories, mean=figures["mean_cents"], num=int(figures["num_spending"]))
    return Law(
        purchases=BgNbd(*map(float, purchases.parameters)),
        purchases_covariance=_matrix(purchases.covariance),
        purchases_log_likelihood=purchases.log_likelihood,
        spend=None if spend is None else GammaGamma(*map(float, spend.parameters)),
        spend_covariance=() if spend is None else _matrix(spend.covariance),
        mean_order_cents=max(0.0, figures["net_cents"] / figures["orders"]),
        net_share=max(0.0, figures["net_cents"] / figures["counted_cents"]) if figures["counted_cents"] else 0.0,
        retention=figures["retention"] or 0.0,
        num_customers=int(figures["num_customers"]),
        num_repeat_customers=num_repeat,
    )


def _figures(histories: DataFrame, features: DataFrame) -> dict[str, Any]:
    """Sums over all customers, whatever the order of their rows: one row."""
    bought_before = F.col("num_orders_60d") > F.col("num_orders_30d")
    again = F.count_if(bought_before & (F.col("num_orders_30d") > 0))
    bought = features.where("purchase_recency_days IS NOT NULL")
    of_shop = bought.agg(
        F.sum("net_revenue_cents").cast("double").alias("net_cents"),
        F.sum(F.greatest("net_revenue_cents", F.lit(0))).cast("double").alias("counted_cents"),
        F.try_divide(again, F.count_if(bought_before)).alias("retention"),
    )
    is_repeat = F.col("repeats") > 0
    is_spending = is_repeat & (F.col("mean_cents") > 0)
    of_histories = histories.agg(
        F.count("*").alias("num_customers"),
        F.count_if(is_repeat).alias("num_repeat"),
        F.count_if(is_spending).alias("num_spending"),
        exact_mean(F.col("age_weeks")).alias("age_weeks"),
        F.sum("orders").alias("orders"),
        exact_mean(F.when(is_spending, F.col("mean_cents"))).alias("mean_cents"),
    )
    found = of_shop.crossJoin(of_histories).head()
    assert found is not None
    return found.asDict()


def _fit_purchases(histories: DataFrame, *, age_weeks: float, num: int) -> Fitted:
    def terms(parameters: Floats, columns: Any) -> tuple[Floats, Floats]:
        return bg_nbd.log_likelihood_terms(BgNbd(*parameters), *columns)

    with persisted(counted(histories, *HISTORY)) as rows:
        return fit_by_likelihood(total_of(rows, terms), np.array([1.0, age_weeks, 1.0, 1.0]), num_customers=num)


def _fit_spend(histories: DataFrame, *, mean: float | None, num: int) -> Fitted | None:
    """Of customers with repeats and something spent; None where nobody has, or the mean over all customers is infinite."""
    if mean is None:
        return None

    def terms(parameters: Floats, columns: Any) -> tuple[Floats, Floats]:
        orders, means = columns
        return gamma_gamma.log_likelihood_terms(GammaGamma(*parameters), orders, means / mean)  # close to 1: v too

    spending = histories.where("repeats > 0 AND mean_cents > 0")
    with persisted(counted(spending, *SPEND)) as rows:
        fitted = fit_by_likelihood(total_of(rows, terms), np.array([1.0, 2.0, 1.0]), num_customers=num)
    p, q, v = fitted.parameters
    if q <= 1:
        return None
    return Fitted(np.array([p, q, v * mean]), fitted.covariance, fitted.log_likelihood, num)


def _matrix(rows: Any) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in rows)
