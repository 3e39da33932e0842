"""Trees that rank the candidates of every source, learned from past mornings."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from functools import reduce
from typing import Any

import numpy as np
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark import files
from clm_spark.draws import drawn
from clm_spark.errors import TooLittleDataError
from clm_spark.models.ranker.alike import MODULES
from clm_spark.models.ranker.candidates import candidates_of
from clm_spark.models.ranker.content import content_at
from clm_spark.models.ranker.features import as_trees_know, features_with, unknown_as
from clm_spark.models.ranker.histories import histories_at, known_items, taken_after
from clm_spark.models.ranker.learned import Scored, Scorer, examples_of, knowledge_at
from clm_spark.models.ranker.lines import Ints, Singles
from clm_spark.models.ranker.lists import candidate_options, categories_of, lists_by
from clm_spark.models.ranker.reasons import reasons_of
from clm_spark.models.ranker.settings import CandidateSettings, RankerSettings
from clm_spark.models.ranker.sources import Block, CandidateOptions
from clm_spark.models.recommender import Recommender
from clm_spark.models.registry.flavours import load_spark_pipeline, save_spark_pipeline
from clm_spark.models.task import Inputs
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_ITEM_DAYS, EVENTS, ITEM_DAYS, ITEM_VOCABULARY

ASKED = "features.json"  # beside the trees: what they are asked with
TOLD, VALIDATES = "features", "is_validation"
DRAWS = 1_000_000

log = logging.getLogger(__name__)


class Ranker(Recommender):
    """Boosted trees over what each source and the customer's own history say of a candidate.

    They learn from past mornings: what was known then, and what was bought in the `recommend.test_days` after. The
    relevance of an item is its probability to be bought in as many days by a customer who buys an indexed item then: only
    such customers are learned from.
    """

    name = "ranker"
    words = "learned ranker"
    section = RankerSettings
    inputs = (CUSTOMER_ITEM_DAYS, ITEM_DAYS, ITEM_VOCABULARY, EVENTS)
    uses = (*MODULES, "clm_spark.models.ranker.reasons")

    def settings_used(self, settings: Settings) -> list[str]:
        """Its own, those of its candidates, and the days that it looks ahead."""
        horizon = f"{settings.recommend.test_days} days ahead, seen hidden: {settings.recommend.hide_seen}"
        candidates = settings.of(CandidateSettings)
        used = [*super().settings_used(settings), candidates.model_dump_json(), horizon]
        return [*used, settings.of(TransformerSettings).model_dump_json()] if candidates.from_transformer else used

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Learn from the mornings before `inputs.as_of` whose days to come were over by then."""
        settings, asked = inputs.settings.of(RankerSettings), candidate_options(inputs.settings)
        horizon_days = inputs.settings.recommend.test_days
        num_panels = min(
            settings.panels, (inputs.as_of - date.min).days // horizon_days
        )  # the calendar begins somewhere
        days = [inputs.as_of - timedelta(days=horizon_days * back) for back in range(1, num_panels + 1)]
        with ExitStack() as held:
            histories = held.enter_context(persisted(histories_at(inputs, days)))
            taken = held.enter_context(persisted(taken_after(inputs, histories, days, horizon_days=horizon_days)))
            panels = list(_panels(histories, taken, days, inputs, asked, settings))
            if not panels:
                raise TooLittleDataError(
                    f"a ranker cannot be trained: nobody known on {days[0]} bought an indexed item in the {horizon_days} "
                    "days from then on; give a later --as-of, or lower recommend.test_days or recommend.min_item_events"
                )
            examples = held.enter_context(persisted(reduce(DataFrame.unionByName, panels)))
            _check_labels(examples)
            features = features_with(asked.settings)
            model, asked_with = (
                fit_ranker(examples, features, settings),
                examples.select(F.array(*features).alias(TOLD)),
            )
            packages = ("scikit-learn", "xgboost-cpu")
            files.write_text(f"{path}/{ASKED}", json.dumps(_asked_with(asked)))
            save_spark_pipeline(PipelineModel([model]), path, rows=asked_with, answer="probability", packages=packages)

    def differs(self, path: str, inputs: Inputs) -> str | None:
        """Whether its trees know other features than candidates have by now, or such as were made by other settings."""
        known = json.loads(files.read_text(f"{path}/{ASKED}")) if files.exists(f"{path}/{ASKED}") else {}
        asked = _asked_with(candidate_options(inputs.settings))
        if {*known} != {*asked}:
            return "its trees were trained by an earlier release, which told them other things"
        for what, before in known.items():
            if list(before.items()) != list(asked[what].items()):
                names = sorted({*before, *asked[what]})
                other = [name for name in names if before.get(name) != asked[what].get(name)]
                return f"its trees were trained on other {what}: {', '.join(other) or 'the same in another order'}"
        return None

    def lists(self, path: str, inputs: Inputs, *, length: int) -> DataFrame:
        """A row per customer of `inputs.rows` and rank, from the trees at `path` and what is known on the morning."""
        (model,) = load_spark_pipeline(path).stages
        trees = inputs.sent(bytes(model.get_booster().save_raw("ubj")))  # type: ignore[attr-defined]
        return lists_by(lambda: by_trees(trees.value), inputs, length=length)


def _asked_with(asked: CandidateOptions) -> dict[str, dict[str, Any]]:
    """What trees must be asked with: the settings that features are made by, and the features with what stands for an unknown one."""
    settings = {"recommend.test_days": asked.recent_days, "recommend.hide_seen": asked.hides_seen}
    settings |= {f"{CandidateSettings.key}.{name}": of for name, of in asked.settings.model_dump(mode="json").items()}
    if asked.settings.from_transformer:
        of_it = asked.transformer.model_dump(mode="json")
        settings |= {f"{TransformerSettings.key}.{name}": of for name, of in of_it.items()}
    return {"settings": settings, "features": {name: unknown_as(name) for name in features_with(asked.settings)}}


def fit_ranker(examples: DataFrame, features: Sequence[str], settings: RankerSettings) -> Any:
    """Trees by XGBoost (Chen and Guestrin 2016) that tell the probability of `label` from `features`, by `weight`.

    The depth and the number of trees are those with the lowest log loss on the validation customers: a small shop's examples
    bear few trees, and no deep ones. Where the customers are so few that those who validate, or all others, have one label
    alone, `patience` trees of the least depth are made of all examples.
    """
    from xgboost.spark import SparkXGBClassifier  # here: importing it takes seconds, and few jobs need it

    logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
    validates = F.pmod(F.xxhash64("customer_key", F.lit(settings.seed), F.lit(VALIDATES)), F.lit(DRAWS)) < F.lit(
        settings.validation_share * DRAWS
    )
    # As one column: of several, XGBoost fails on an Arrow batch without a validation row, or with these alone.
    rows = examples.select("*", validates.alias(VALIDATES), F.array(*features).alias(TOLD)).drop(*features)
    labels = rows.groupBy(VALIDATES).agg(F.count_distinct("label").alias("labels")).collect()  # two rows at most
    stops = len(labels) == 2 and all(row["labels"] == 2 for row in labels)
    when = {"validation_indicator_col": VALIDATES, "early_stopping_rounds": settings.patience} if stops else {}
    # In one order, so that the same rows give the same trees.
    placed = rows.repartition(settings.num_workers, "customer_key")
    in_order = placed.sortWithinPartitions("as_of", "customer_key", "item_index")

    def of_depth(depth: int) -> Any:
        trees = SparkXGBClassifier(
            features_col=TOLD,
            label_col="label",
            weight_col="weight",
            n_estimators=settings.num_trees if stops else min(settings.num_trees, settings.patience),
            max_depth=depth,
            learning_rate=settings.step_size,
            subsample=settings.subsample,
            colsample_bytree=settings.feature_share,
            min_child_weight=settings.min_leaf_weight,
            num_workers=settings.num_workers,
            random_state=settings.seed,
            tree_method="hist",
            verbosity=0,
            verbose=False,
            **when,
        )
        return trees.fit(in_order)

    depths = sorted({*settings.depths})
    if not stops:
        return of_depth(depths[0])
    fitted = [of_depth(depth) for depth in depths]
    losses = [float(model.get_booster().attr("best_score")) for model in fitted]
    told = ", ".join(f"{loss:.6f} with depth {depth}" for depth, loss in zip(depths, losses, strict=True))
    log.info("the ranker's log loss on validation customers is %s", told)
    return fitted[int(np.argmin(losses))]  # level: the least


def by_trees(trees: bytes) -> Scorer:
    """Scores candidates by a saved booster, with reasons from what its trees add up."""
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(trees))
    if stops := booster.attr("best_iteration"):  # trees were made beyond it, to see that they do not help
        booster = booster[: int(stops) + 1]
    booster.set_param({"nthread": 1})  # a task is a core's

    def score(block: Block) -> Scored:
        candidates, features = candidates_of(block), features_with(block.asked.settings)
        told = as_trees_know(candidates.features, features)
        scores = booster.inplace_predict(told)

        def reasons(chosen: Ints) -> list[str]:
            if len(chosen) == 0:  # XGBoost's answer would have no columns
                return []
            # Shares along each tree's path, not TreeSHAP: that takes a hundred times as long.
            added = booster.predict(xgboost.DMatrix(told[chosen]), pred_contribs=True, approx_contribs=True)
            return reasons_of(features, candidates.features[chosen], added)

        return Scored(candidates.customers, candidates.items, scores, reasons)

    return score


def _panels(
    histories: DataFrame,
    taken: DataFrame,
    days: Sequence[date],
    inputs: Inputs,
    asked: CandidateOptions,
    settings: RankerSettings,
) -> Iterator[DataFrame]:
    """Examples of each morning on which there were customers who went on to buy."""
    categories = categories_of(inputs)
    contents = content_at(inputs, num_items=len(categories))
    for day in days:
        is_of_day = F.col("as_of") == F.lit(day)
        known_then = histories.where(is_of_day)
        buyers = known_then.join(taken.where(is_of_day), on=["customer_id", "as_of"], how="inner")
        if buyers.isEmpty():
            log.info("the ranker does not learn from %s: no customer known then bought in the days after", day)
            continue
        try:
            then = _of_known_items(contents, inputs, day)
            known = inputs.lake.spark.sparkContext.broadcast(knowledge_at(known_then, categories, asked, then))
        except TooLittleDataError as error:
            log.info("the ranker does not learn from %s: %s", day, error)
            continue
        draw = F.xxhash64("customer_key", F.lit(settings.seed))
        learned_from = drawn(buyers, draw, "customer_key", most=settings.customers_per_panel)
        examples = examples_of(learned_from, known, asked, settings)
        yield examples.withColumn("as_of", F.lit(day))


def _of_known_items(contents: Singles | None, inputs: Inputs, day: date) -> Singles | None:
    """The vectors of the items that could be recommended on that day; 0 for the others."""
    if contents is None:
        return None
    items = known_items(inputs, [day]).select("item_index").toArrow()["item_index"].to_numpy()  # bounded by max_items
    found = np.zeros_like(contents)
    found[items] = contents[items]
    return found


def _check_labels(examples: DataFrame) -> None:
    """Trees need both kinds."""
    labels = examples.agg(F.count("*").alias("rows"), F.count_if(F.col("label") == 1).alias("bought")).first()
    assert labels is not None
    if labels["bought"] in (0, labels["rows"]):
        which = "none" if labels["bought"] == 0 else "every one"
        raise TooLittleDataError(
            f"a ranker cannot be trained: expected candidates of past mornings that were bought and others that were not, "
            f"and of {labels['rows']} {which} was bought; wait for more items or customers"
        )
