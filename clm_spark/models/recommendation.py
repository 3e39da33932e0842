"""What to show a customer: the task."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.lists import list_figures, list_metrics
from clm_spark.evaluation.ranking import customer_ranking, mean_figures, ranking_metrics
from clm_spark.evaluation.samples import sampled_means
from clm_spark.events.bots import bot_days_to_leave_out, was_flagged, with_flagged_on
from clm_spark.events.identity.persons import known_persons
from clm_spark.features.customers import ONE_DAY
from clm_spark.features.labels import bought_items
from clm_spark.features.panel import tested_from
from clm_spark.models.comparison import stacked
from clm_spark.models.filled_lists import filled_up, taken_items
from clm_spark.models.list_slices import ListComparison, slice_figures
from clm_spark.models.recommender import list_length
from clm_spark.models.registry import ModelVersion, fingerprint
from clm_spark.models.surfaces.facts import LOOKED_AT, check_facts, with_facts
from clm_spark.models.surfaces.lists import exclusions_of, lists_of, num_candidates, ruled
from clm_spark.models.task import Comparison, Inputs, Split, Task, digest
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
    RECOMMENDATION_EXCLUSIONS,
    SLICE_METRICS,
)
from clm_spark.tables.lake import Lake


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
    looks_up = LOOKED_AT
    reports = (SLICE_METRICS,)
    writes = (ITEM_RECOMMENDATIONS, RECOMMENDATION_EXCLUSIONS)

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
        flagged = with_flagged_on(lake.read_as_of(EVENTS), bot_days_to_leave_out(lake))
        people = flagged.where(~was_flagged(flagged, by=F.lit(as_of - ONE_DAY)))
        bought = bought_items(people, past, known_persons(lake, [as_of]), since=tested_on)
        if lake.settings.recommend.hide_seen:  # what no list may show is nothing to look for
            seen = taken_items(Inputs(lake, tested_on, past))
            bought = bought.join(seen, on=["customer_id", "item_id"], how="left_anti")
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
        """Every customer with an interaction, with the items; whoever took to rare items alone is filled up."""
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
            return ListComparison.of(
                mean_figures(measured).unionByName(list_figures(lists, _shops_items(split.test))),
                sampled_means(measured, seed=asked.seed, most=asked.max_customers),
                decided_by=self.decided_by,
                settings=asked,
                beside_sample=list_metrics(),
            ).with_slices(slice_figures(lists, split.truth, split.test, score=self.name, models=list(filled)))

    def check_looked_up(self, lake: Lake) -> None:
        """What the business rules look at must be of the morning."""
        check_facts(lake)

    def write(self, lake: Lake, answers: DataFrame, served: ModelVersion) -> None:
        """The champion's candidates of as_of, filled up, as a list per surface, and what its rules removed."""
        day, num_untried = lake.settings.as_of, lake.settings.surfaces.num_untried
        with closing(self.population_rows(lake)) as asked:
            candidates = filled_up(answers, asked, top_k=num_candidates(lake.settings), num_untried=num_untried)
            source, is_ranked = F.coalesce("source", F.lit(served.model)), F.col("source").isNull()
            named = candidates.withColumns(
                {"as_of": F.lit(day), "source": source, "is_ranked": is_ranked, "model_version": F.lit(served.version)}
            )
            with persisted(named) as listed, persisted(with_facts(listed, lake)) as known:
                on_surfaces = ruled(known, lake.settings)  # for each of the two: three rows a candidate are not kept
                for table, rows in (
                    (ITEM_RECOMMENDATIONS, lists_of(on_surfaces)),
                    (RECOMMENDATION_EXCLUSIONS, exclusions_of(on_surfaces).withColumn("as_of", F.lit(day))),
                ):
                    lake.replace(rows.select(table.schema.names), into=table, as_of=day)


def _shops_items(inputs: Inputs) -> DataFrame:
    """One row per item that was bought by that morning or is in the vocabulary, with its purchases and its category."""
    days = inputs.read(ITEM_DAYS).groupBy("item_id").agg(F.sum("num_buyer_days").alias("num_bought"))
    categories = inputs.read(ITEM_VOCABULARY).select("item_id", "category")
    return days.where(F.col("num_bought") > 0).join(categories, on="item_id", how="full")


def _pairs(lake: Lake, day: date) -> DataFrame:
    return lake.read_as_of(INTERACTIONS, day)
