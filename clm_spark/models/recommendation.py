"""What to show a customer: the task, and what all recommenders share."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from typing import ClassVar

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.lists import list_figures, list_metrics
from clm_spark.evaluation.ranking import customer_ranking, mean_figures, ranking_metrics
from clm_spark.evaluation.samples import sampled_means
from clm_spark.events.bots import bot_days_to_leave_out, drop_bot_days
from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.features.labels import bought_items
from clm_spark.features.panel import tested_from
from clm_spark.features.vocabulary import num_taken
from clm_spark.models.comparison import SampledComparison, stacked
from clm_spark.models.registry import ModelVersion, fingerprint
from clm_spark.models.task import Comparison, Inputs, Model, Split, Task, digest
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import (
    BOT_DAYS,
    CUSTOMER_ITEM_DAYS,
    EVENTS,
    IDENTITIES,
    INTERACTIONS,
    ITEM_DAYS,
    ITEM_RECOMMENDATIONS,
    ITEM_SEQUENCES,
    ITEM_VOCABULARY,
)
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

LONGEST_MEASURED = 20
MOST_POPULAR = 1000  # items that a list is filled up from
FILLED_BY = "popularity"
ITEMS = "items"  # beside a trained recommender: the item_id of each item_index it knows
NAMED = ("item_id", "relevance", "reason", "source")
ENTRIES = "array<struct<rank:int,item_id:string,relevance:double,reason:string,source:string>>"


class Recommendation(Task):
    """The items that a customer buys in the days to come."""

    name = "recommendation"
    question = "Which items will a customer buy in the days to come?"
    grain = "customer and rank"
    population = "customers who took to an item before as_of"
    label = "items bought in the `recommend.test_days` from as_of on"
    metrics = (*ranking_metrics(), *list_metrics())
    decided_by = "ndcg_at_10"
    train_job = "train_recommenders"
    score_job = "recommend_items"
    areas = ("evaluation", "recommend")
    reads = (
        EVENTS,
        IDENTITIES,
        BOT_DAYS,
        INTERACTIONS,
        ITEM_SEQUENCES,
        ITEM_VOCABULARY,
        ITEM_DAYS,
        CUSTOMER_ITEM_DAYS,
    )
    asks = (IDENTITIES, INTERACTIONS, ITEM_SEQUENCES, ITEM_VOCABULARY, ITEM_DAYS, CUSTOMER_ITEM_DAYS)
    writes = (ITEM_RECOMMENDATIONS,)

    def horizon_days(self, settings: Settings) -> int:
        """The days whose purchases a list is held against."""
        return settings.recommend.test_days

    @contextmanager
    def split(self, lake: Lake) -> Iterator[Split]:
        """Tested on what was bought in the days before as_of, by what trains on what was known when they began."""
        tested_on, as_of = tested_from(lake.settings), lake.settings.as_of
        past, now = (_pairs(lake, day) for day in (tested_on, as_of))
        if past.limit(1).count() == 0:
            raise TooLittleDataError(
                f"recommenders cannot be trained: no customer had taken to an indexed item before {tested_on}; "
                "give a later --as-of, or lower recommend.test_days or recommend.min_item_events"
            )
        people = drop_bot_days(lake.read_as_of(EVENTS), bot_days_to_leave_out(lake))
        events = with_person(people, known_persons(lake, [tested_on]))
        bought = bought_items(events, since=tested_on).join(past, on="customer_id", how="left_semi")
        if lake.settings.recommend.hide_seen:  # what no list may show is nothing to look for
            bought = bought.join(past, on=["customer_id", "item_id"], how="left_anti")
        sequences = fingerprint(lake.read_as_of(ITEM_SEQUENCES))
        with persisted(bought) as truth:
            if truth.isEmpty():
                raise TooLittleDataError(
                    f"recommenders cannot be tested: nothing was bought from {tested_on} on by customers known then"
                )
            yield Split(
                past=Inputs(lake, tested_on, past),
                test=Inputs(lake, tested_on, past),
                truth=truth,
                now=Inputs(lake, as_of, now),
                tested_on=tested_on,
                fingerprint=digest(fingerprint(now), fingerprint(truth), sequences),
            )

    def population_rows(self, lake: Lake) -> Inputs:
        """Every customer with an interaction, with the items."""
        return Inputs(lake, lake.settings.as_of, _pairs(lake, lake.settings.as_of))

    def compare(self, answers: Mapping[str, DataFrame], split: Split) -> Comparison:
        """How well every entrant's lists predict, and what they are like, filled up as they are when served."""
        length, asked = list_length(split.now.settings), split.now.settings.evaluation
        filled = {name: filled_up(lists, split.test, top_k=length) for name, lists in answers.items()}
        names = ("model", "customer_id", "rank", "item_id")
        with (
            persisted(stacked(filled).select(*names)) as lists,
            persisted(customer_ranking(lists, split.truth, models=list(filled))) as measured,
        ):
            return SampledComparison.of(
                mean_figures(measured).unionByName(list_figures(lists, _items_bought(split.test))),
                sampled_means(measured, seed=asked.seed, most=asked.max_customers),
                decided_by=self.decided_by,
                settings=asked,
                without_interval=list_metrics(),
            )

    def write(self, lake: Lake, answers: DataFrame, served: ModelVersion) -> None:
        """The champion's lists of as_of, filled up to their length."""
        asked, day = self.population_rows(lake), lake.settings.as_of
        lists = filled_up(answers, asked, top_k=lake.settings.recommend.top_k)
        source = F.coalesce("source", F.lit(served.model))
        named = lists.withColumns({"as_of": F.lit(day), "source": source, "model_version": F.lit(served.version)})
        lake.replace(named.select(ITEM_RECOMMENDATIONS.schema.names), into=ITEM_RECOMMENDATIONS, as_of=day)


class Recommender(Model):
    """Its answers have customer_id, rank, item_id, relevance and a `reason` in words: `list_length` items at most."""

    task = Recommendation.name

    @abstractmethod
    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """A row per customer of `inputs.rows` and rank."""


class IndexedRecommender(Recommender):
    """A trained recommender that knows items by their index in gold.item_vocabulary, which it saves beside it."""

    inputs: ClassVar[tuple[Table, ...]] = (ITEM_VOCABULARY,)

    def save_items(self, path: str, inputs: Inputs) -> None:
        """Write down which item each index means to the model."""
        _items(inputs).coalesce(1).write.mode("overwrite").parquet(f"{path}/{ITEMS}")

    def with_item(self, lists: DataFrame, inputs: Inputs, *, reason: str) -> DataFrame:
        """Lists by index as lists by item, each item for the same `reason`."""
        named = lists.join(_items(inputs), on="item_index", how="inner")
        return named.select("customer_id", "rank", "item_id", "relevance", F.lit(reason).alias("reason"))

    def differs(self, path: str, inputs: Inputs) -> str | None:
        """Whether an index that the model knows stands for another item by now."""
        known = inputs.rows.sparkSession.read.parquet(f"{path}/{ITEMS}").withColumnRenamed("item_id", "known_item_id")
        both = known.join(_items(inputs), on="item_index", how="left")
        is_other = F.col("item_id").isNotNull() & (F.col("known_item_id") != F.col("item_id"))
        other = both.where(is_other).orderBy("item_index").head()
        if other is None:
            return None
        return f"item_index {other['item_index']} was {other['known_item_id']} and is {other['item_id']} by now"


class RecommenderRule(Recommender):
    """A recommender without training."""

    is_rule = True

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Nothing is trained."""


def list_length(settings: Settings) -> int:
    """Items that a recommender gives: enough to serve and to measure."""
    return max(settings.recommend.top_k, LONGEST_MEASURED)


def popular_items(inputs: Inputs, *, window_days: int | None = None) -> DataFrame:
    """One row per item bought, best first by `rank`: `relevance` is how often a customer bought it on a day.

    Purchases are counted, as the truth counts them; of the last `window_days` alone where these are given. What is retired
    from the vocabulary is left out here, too.
    """
    days = inputs.read(ITEM_DAYS)
    if window_days is not None:
        days = days.where(F.col("day_on") >= F.lit(inputs.as_of - timedelta(days=window_days)))
    last_seen = F.max(F.when(num_taken(inputs.settings.features.kind_strengths) > 0, F.col("day_on")))
    bought = days.groupBy("item_id").agg(
        F.sum("num_buyer_days").cast("double").alias("relevance"), last_seen.alias("last_seen_on")
    )
    retire_after_days = inputs.settings.recommend.retire_after_days
    if retire_after_days is not None:
        since = inputs.as_of - timedelta(days=retire_after_days)
        bought = bought.where(F.col("last_seen_on") >= F.lit(since))
    # One task sorts the items that were bought: bounded by the catalogue, and cut right after.
    best_first = Window.orderBy(F.desc("relevance"), "item_id")
    ranked = bought.where(F.col("relevance") > 0).withColumn("rank", F.row_number().over(best_first))
    return ranked.where(F.col("rank") <= MOST_POPULAR)


def filled_up(lists: DataFrame, inputs: Inputs, *, top_k: int, fill: DataFrame | None = None) -> DataFrame:
    """One row per customer of `inputs.rows` and rank: the customer's own list, then what is popular and not in it.

    `source` is null for the list's own items. Where seen items are hidden, those are hidden here too. A list and an
    array of popular items meet in one row per customer: nothing grows with customers times items.
    """
    hides_seen = inputs.settings.recommend.hide_seen
    seen = F.collect_set("item_id") if hides_seen else F.array().cast("array<string>")
    customers = inputs.rows.groupBy("customer_id").agg(seen.alias("_seen"))
    entry = F.struct("rank", "item_id", "relevance", "reason", F.lit(None).cast("string").alias("source"))
    own = lists.groupBy("customer_id").agg(F.array_sort(F.collect_list(entry)).alias("_own"))
    popular = fill if fill is not None else popular_items(inputs)
    reason = F.format_string("bought by customers %d times", F.col("relevance").cast("bigint"))
    filler = F.struct("rank", "item_id", "relevance", reason.alias("reason"), F.lit(FILLED_BY).alias("source"))
    best = popular.agg(F.array_sort(F.collect_list(filler)).alias("_best"))
    beside = customers.join(own, on="customer_id", how="left").crossJoin(F.broadcast(best))
    known = F.coalesce("_own", F.array().cast(ENTRIES))
    # A recommender that looks at the last items alone has not seen all that the customer has.
    listed = F.filter(known, lambda item: ~F.array_contains(F.col("_seen"), item["item_id"]))
    taken = F.concat(F.transform(listed, lambda item: item["item_id"]), "_seen")
    # Of the best no more can be taken than there are, and Spark works `taken` out anew for each item it looks at.
    enough = F.slice("_best", 1, F.lit(top_k) + F.size(taken))
    rest = F.filter(enough, lambda item: ~F.array_contains(taken, item["item_id"]))
    whole = beside.select("customer_id", F.slice(F.concat(listed, rest), 1, top_k).alias("_items"))
    exploded = whole.select("customer_id", F.posexplode("_items").alias("_place", "_item"))
    return exploded.select("customer_id", (F.col("_place") + 1).alias("rank"), *(F.col(f"_item.{n}") for n in NAMED))


def _items_bought(inputs: Inputs) -> DataFrame:
    """One row per item with its purchases by that morning and its category."""
    days = inputs.read(ITEM_DAYS).groupBy("item_id").agg(F.sum("num_buyer_days").alias("num_bought"))
    categories = inputs.read(ITEM_VOCABULARY).select("item_id", "category")
    return days.where(F.col("num_bought") > 0).join(categories, on="item_id", how="left")


def _items(inputs: Inputs) -> DataFrame:
    return inputs.read(ITEM_VOCABULARY).select("item_index", "item_id")


def _pairs(lake: Lake, day: date) -> DataFrame:
    return lake.read_as_of(INTERACTIONS, day)
