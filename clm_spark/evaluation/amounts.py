"""How well predicted amounts agree with what came: error, order and level, each with 1 as the best and 0 as knowing nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.evaluation.ranks import DECILES, with_decile, with_place
from clm_spark.evaluation.samples import MOST_CUSTOMERS, Counts, Floats, drawn_rows, of_models
from clm_spark.evaluation.sums import exact_mean

METRICS = ("squared_skill", "absolute_skill", "normalised_gini", "decile_calibration", "interval_coverage")
WHOLE = "decimal(24,2)"  # sums of it do not depend on the order of the rows
UNIT = 10_000.0  # amounts, as a rule cents, over this: their squares are then small enough for exact means
COLUMNS = ("model", "customer_id", "predicted", "came", "low", "high")


def amount_metrics(predicted: DataFrame) -> DataFrame:
    """One row per model and metric; `predicted` has COLUMNS, amounts in one unit, `low` and `high` null where there are none.

    * `squared_skill`: 1 - squared error over that of always saying the mean of what came (the coefficient of
      determination, on customers not trained on). The mean is what minimises it: the only one of these that falls with a
      wrong order, a wrong level and a wrong spread alike.
    * `absolute_skill`: the same of absolute errors. Its best answer is the median, for many customers nothing.
    * `normalised_gini`: the Gini of what came, customers in the order of the prediction, over that in the order of what
      came (Frees, Meyers and Cummings 2011): the order alone. Ties stand in no order that helps.
    * `decile_calibration`: 1 - the sum over tenths of the prediction of |predicted - came|, over all that came.
    * `interval_coverage`: share of customers of whom what came lies within the bounds; models without bounds have none.
    """
    placed = with_place(predicted, score="predicted", within=["model"]).withColumnRenamed("place", "_by_predicted")
    placed = with_place(placed.drop("num_ranked"), score="came", within=["model"]).withColumnRenamed(
        "place", "_by_came"
    )
    means = predicted.groupBy("model").agg(exact_mean(F.col("came") / UNIT).alias("_mean"))
    rows = placed.join(F.broadcast(means), on="model", how="inner")
    error, spread = (F.col("predicted") - F.col("came")) / UNIT, F.col("came") / UNIT - F.col("_mean")
    is_inside = (F.col("came") >= F.col("low")) & (F.col("came") <= F.col("high"))
    figures = rows.groupBy("model").agg(
        F.count("*").alias("num_tested"),
        (1 - F.try_divide(exact_mean(error**2), exact_mean(spread**2))).alias("squared_skill"),
        (1 - F.try_divide(exact_mean(F.abs(error)), exact_mean(F.abs(spread)))).alias("absolute_skill"),
        F.try_divide(_gini_of("_by_predicted"), _gini_of("_by_came")).alias("normalised_gini"),
        F.avg(is_inside.cast("double")).alias("interval_coverage"),
    )
    tenths = amount_deciles(predicted).groupBy("model").agg(_calibration().alias("decile_calibration"))
    pairs = F.array(*(F.struct(F.lit(name).alias("metric"), F.col(name).alias("value")) for name in METRICS))
    both = figures.join(tenths, on="model", how="inner")
    return both.select("model", "num_tested", F.inline(pairs)).where("value IS NOT NULL")


def amount_deciles(predicted: DataFrame) -> DataFrame:
    """One row per model and tenth of the customers by prediction: mean predicted, mean that came, and lift over all."""
    counted = with_decile(predicted, score="predicted", within=["model"]).groupBy("model", "decile").agg(
        F.count("*").alias("num_customers"),
        (exact_mean(F.col("predicted") / UNIT) * UNIT).alias("mean_value"),
        (exact_mean(F.col("came") / UNIT) * UNIT).alias("mean_observed"),
    )  # fmt: skip
    of_model = Window.partitionBy("model")  # ten rows
    came = F.col("mean_observed") * F.col("num_customers")
    overall = F.sum(came).over(of_model) / F.sum("num_customers").over(of_model)
    return counted.withColumn("lift", F.coalesce(F.try_divide("mean_observed", overall), F.lit(0.0)))


def _gini_of(place: str) -> Column:
    above = F.col("num_ranked") - 2 * F.col(place) - 1
    return F.sum(F.col("came").cast(WHOLE) * above).cast("double")


def _calibration() -> Column:
    apart = F.abs(F.col("mean_value") - F.col("mean_observed")) * F.col("num_customers")
    return 1 - F.try_divide(F.sum(apart), F.sum(F.abs(F.col("mean_observed")) * F.col("num_customers")))


@dataclass(frozen=True)
class ScoredAmounts:
    """Figures of predicted amounts beside what came: model x customer, what came and the orders found once."""

    models: tuple[str, ...]
    predicted: Floats  # model x customer
    came: Floats
    is_inside: Floats  # model x customer; NaN where the model gives no bounds
    order: NDArray[np.intp]  # of each model, the highest prediction first
    order_of_came: NDArray[np.intp]

    @property
    def num_customers(self) -> int:
        """How many customers can be drawn."""
        return len(self.came)

    def figures(self, models: Sequence[str], metrics: Sequence[str], counts: Counts) -> Floats:
        """The metrics of `amount_metrics`, each customer counted as often as `counts` says."""
        perfect = _gini(self.came, counts, self.order_of_came)
        found = [self._of_model(self.models.index(model), counts, perfect) for model in models]
        return np.array([[of_model[metric] for metric in metrics] for of_model in found])

    def _of_model(self, at: int, counts: Counts, perfect: float) -> Mapping[str, float]:
        error, spread = self.predicted[at] - self.came, self.came - np.average(self.came, weights=counts)
        order, total = self.order[at], float(counts @ np.abs(spread))
        if not total or not perfect:
            return dict.fromkeys(METRICS, float("nan"))
        return {
            "squared_skill": 1 - float(counts @ error**2) / float(counts @ spread**2),
            "absolute_skill": 1 - float(counts @ np.abs(error)) / total,
            "normalised_gini": _gini(self.came, counts, order) / perfect,
            "decile_calibration": _decile_calibration(self.predicted[at][order], self.came[order], counts[order]),
            "interval_coverage": float(counts @ self.is_inside[at]) / float(counts.sum()),
        }


def sampled_amounts(predicted: DataFrame, *, seed: int, most: int = MOST_CUSTOMERS) -> ScoredAmounts:
    """A sample of rows with COLUMNS, one per model and customer."""
    rows = drawn_rows(predicted.select(*COLUMNS), seed=seed, most=most)
    by_model = {model: group.sort_values("_customer") for model, group in of_models(rows)}
    first = next(iter(by_model.values()))
    came, ties = first["came"].to_numpy(dtype=float), first["_hash"].to_numpy()
    predicted_by = np.stack([group["predicted"].to_numpy(dtype=float) for group in by_model.values()])
    low, high = (
        np.stack([group[name].to_numpy(dtype=float) for group in by_model.values()]) for name in ("low", "high")
    )
    is_inside = np.where(np.isnan(high), np.nan, (came >= low) & (came <= high))
    orders = np.stack([np.lexsort((ties, -each)) for each in predicted_by])
    return ScoredAmounts(tuple(by_model), predicted_by, came, is_inside, orders, np.lexsort((ties, -came)))


def _gini(came: Floats, counts: Counts, order: NDArray[np.intp]) -> float:
    """Sum of what came times customers below less customers above; a customer drawn often is above none of its copies."""
    ordered, drawn = came[order], counts[order]
    above = np.cumsum(drawn) - drawn
    return float((drawn * ordered) @ (drawn.sum() - 2 * above - drawn))


def _decile_calibration(predicted: Floats, came: Floats, counts: Counts) -> float:
    """Of a model's customers, the highest prediction first; a customer drawn often may lie in two tenths."""
    upto = np.cumsum(counts)
    edges = np.ceil(np.arange(1, DECILES + 1) * upto[-1] / DECILES)
    sums = np.stack([_sum_upto(values, counts, upto, edges) for values in (predicted, came)])
    of_tenths = np.diff(sums, prepend=0.0, axis=1)
    return 1 - float(np.abs(of_tenths[0] - of_tenths[1]).sum() / np.abs(of_tenths[1]).sum())


def _sum_upto(values: Floats, counts: Counts, upto: Floats, edges: Floats) -> Floats:
    running = np.cumsum(values * counts)
    last = np.searchsorted(upto, edges)
    return np.asarray(running[last] - values[last] * (upto[last] - edges))
