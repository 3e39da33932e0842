"""How well the served lists do for groups of customers, of items, and for purchases that are first ones or repeats."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Self

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.evaluation.bootstrap import FEWEST_CUSTOMERS
from clm_spark.evaluation.ranking import customer_ranking, mean_figures
from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.models.comparison import TWO_SIDED_95, SampledComparison, on_driver
from clm_spark.models.task import Inputs
from clm_spark.privacy.pseudonyms import GUEST
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, SLICE_METRICS
from clm_spark.tables.contract import Table

METRICS = ("ndcg_at_10", "recall_at_20", "hit_rate_at_10", "mrr_at_20")
HEAD_SHARE = 0.5  # of all purchases: the best sold items that make so many of them are the head
GROUP = ("slice", "customers")


@dataclass(frozen=True)
class ListComparison(SampledComparison):
    """A comparison of recommenders, with the winner's figures by group."""

    slices: DataFrame | None = None  # a row per model, group and metric, on the driver

    def with_slices(self, slices: DataFrame) -> Self:
        """The same, with the figures of `slice_figures`."""
        return replace(self, slices=on_driver(slices))

    def reports_on(self, winner: str) -> Iterator[tuple[Table, DataFrame]]:
        """The winner's rows of gold.slice_metrics."""
        assert self.slices is not None
        can_tell = (F.col("metric") == self.decided_by) & (F.col("num_tested") >= FEWEST_CUSTOMERS)
        lowest = F.min(F.when(can_tell, F.struct("value", *GROUP))).over(Window.partitionBy("model"))
        is_worst = F.coalesce(F.struct(*GROUP) == F.struct(*(lowest[name] for name in GROUP)), F.lit(False))
        yield SLICE_METRICS, self.slices.where(F.col("model") == winner).withColumn("is_worst", is_worst)


def slice_figures(
    lists: DataFrame, truth: DataFrame, inputs: Inputs, *, score: str, models: Sequence[str]
) -> DataFrame:
    """One row per model, slice, group and metric, as gold.slice_metrics has them: of `METRICS`, with 95 % intervals.

    `lists` and `truth` as `customer_ranking` takes them. A group of items or purchases stands for what was taken of it:
    items of other groups take places of a list and are no hits. The intervals are of means, by their standard error; where
    all customers of a group have the same figure it tells nothing of how far others would be, and there is none.
    """
    grouped = in_groups(truth, inputs)
    figures = mean_figures(customer_ranking(lists, grouped, models=models, within=GROUP), within=GROUP)
    half = F.when(F.col("error") > 0, TWO_SIDED_95 * F.col("error"))
    low, high = F.greatest(F.col("value") - half, F.lit(0.0)), F.least(F.col("value") + half, F.lit(1.0))
    bounds = {"low": F.when(half.isNotNull(), low), "high": F.when(half.isNotNull(), high)}
    return figures.where(F.col("metric").isin(*METRICS)).withColumns({**bounds, "score": F.lit(score)}).drop("error")


def in_groups(truth: DataFrame, inputs: Inputs) -> DataFrame:
    """One row per item that a customer of `truth` took, and slice, with the group it is in as `customers`."""
    pairs = _bought_before(inputs)
    first_on = pairs.groupBy("customer_id").agg(F.min("first_on").alias("since_on"))
    tenure = F.date_diff(F.lit(inputs.as_of), F.col("since_on"))
    items = _popularity(pairs)
    known = truth.join(first_on, on="customer_id", how="left").join(items, on="item_id", how="left")
    before = pairs.where("num_bought > 0").select("customer_id", "item_id", F.lit(True).alias("is_repeat"))
    known = known.join(before, on=["customer_id", "item_id"], how="left")
    slices: dict[str, Column] = {
        "tenure": F.when(tenure < 90, "under 90 days")
        .when(tenure < 365, "90 to 364 days")
        .otherwise("365 days and more"),
        "items": F.when(F.col("is_head"), "head: half of all purchases")
        .when(F.col("is_head").isNull(), "never bought before")
        .otherwise("tail"),
        "purchases": F.when(F.col("is_repeat"), "bought before").otherwise("first purchase of the item"),
    }
    each = (
        known.select("customer_id", "item_id", F.lit(name).alias("slice"), group.alias("customers"))
        for name, group in slices.items()
    )
    return reduce(DataFrame.unionByName, each)


def _bought_before(inputs: Inputs) -> DataFrame:
    """One row per customer and item known on the morning: `first_on`, and `num_bought`, days on which it was bought."""
    partials = inputs.read(CUSTOMER_ITEM_DAYS).where((F.col("customer_id") != GUEST) & (F.col("num_events") > 0))
    days = with_person(partials, known_persons(inputs.lake, [inputs.as_of]))
    bought = F.count_if(F.col("num_lines") > 0).alias("num_bought")
    return days.groupBy("customer_id", "item_id").agg(F.min("day_on").alias("first_on"), bought)


def _popularity(pairs: DataFrame) -> DataFrame:
    """One row per item bought: `is_head`, whether those before it make less than half of all purchases."""
    sold = pairs.groupBy("item_id").agg(F.sum("num_bought").alias("num_bought")).where("num_bought > 0")
    # One task sorts the items that were bought: bounded by the catalogue.
    best_first = Window.orderBy(F.desc("num_bought"), "item_id").rowsBetween(Window.unboundedPreceding, -1)
    before = F.coalesce(F.sum("num_bought").over(best_first), F.lit(0))
    total = F.sum("num_bought").over(Window.partitionBy())
    return sold.select("item_id", (before < HEAD_SHARE * total).alias("is_head"))
