"""What is learned of a morning's histories on the workers: knowledge of the items, and rows to train on."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.draws import is_among_lowest
from clm_spark.errors import TooLittleDataError
from clm_spark.machine import give_memory_back
from clm_spark.models.ranker.candidates import candidates_of
from clm_spark.models.ranker.features import as_trees_know, features_with
from clm_spark.models.ranker.knowledge import SUMS, Knowledge, item_sums, knowledge_of
from clm_spark.models.ranker.lines import Floats, Ints, Singles, histories_of, joined, lists_of
from clm_spark.models.ranker.settings import RankerSettings
from clm_spark.models.ranker.sources import Block, CandidateOptions, blocks_of
from clm_spark.models.ranker.transformer_source import trained
from clm_spark.models.top_k import best_of
from clm_spark.session import spread_over_cores

Batches = Iterable[pa.RecordBatch]

HISTORY = ("customer_key", "items", "ages", "units", "spent", "looks")
SUMMED = f"item_index int, first_age double, {', '.join(f'{name} double' for name in SUMS)}"
# A column per feature comes behind: XGBoost takes them as they are, where lists would be taken apart row by row.
EXAMPLES = "customer_key bigint, item_index int, label int, weight float"
LISTS = "customer_id string, rank int, item_index int, relevance double, reason string"
DRAWS = 1 << 30


def knowledge_at(
    histories: DataFrame, categories: Ints, asked: CandidateOptions, contents: Singles | None = None
) -> Knowledge:
    """What `histories`, one row per customer of one morning, say of the items.

    `categories` and `contents`, the vectors of texts, are by item index. On the driver come one row per item of a bounded
    vocabulary, and the histories of `reference_customers`, those who bought before those who only looked. Raises
    `TooLittleDataError` where nothing was bought.
    """
    num_items, settings = len(categories), asked.settings
    sums = _sums_of(histories, num_items=num_items, asked=asked)
    if not sums["buyers"].any():
        raise TooLittleDataError(
            "items cannot be ranked: expected purchases of indexed items by known customers, got none"
        )
    batches = _drawn(histories, settings.reference_customers, settings.seed).sort("customer_key").toArrow().to_batches()
    references = histories_of(joined(batches), num_items=num_items, longest=settings.longest_history)
    transformer = trained(references.bought, asked.transformer) if settings.from_transformer else None
    return knowledge_of(
        sums,
        categories,
        references,
        settings=settings,
        contents=contents,
        transformer=transformer,
    )


def _drawn(histories: DataFrame, most: int, seed: int) -> DataFrame:
    """The histories of `most` customers, drawn by hash: of those who bought, and only where they are fewer of the others, too."""
    has_bought, draw = F.exists("units", lambda units: units > 0), F.xxhash64("customer_key", F.lit(seed))
    counted = histories.agg(F.count("*").alias("all"), F.count_if(has_bought).alias("buyers")).head()
    assert counted is not None
    buyers = min(counted["buyers"], most)
    looked = is_among_lowest(draw, most - buyers, counted["all"] - counted["buyers"]) if buyers < most else F.lit(False)
    few = histories.where(F.when(has_bought, is_among_lowest(draw, most, counted["buyers"])).otherwise(looked))
    return few.orderBy(~has_bought, draw, "customer_key").select(*HISTORY).limit(most)


def _sums_of(histories: DataFrame, *, num_items: int, asked: CandidateOptions) -> dict[str, Floats]:
    longest, recent_days = asked.settings.longest_history, asked.recent_days

    def sum_batches(batches: Batches) -> Iterator[pa.RecordBatch]:
        give_memory_back()  # trees may have been trained in this worker before
        for batch in batches:
            bought = histories_of(batch, num_items=num_items, longest=longest).bought
            sums = item_sums(bought, recent_days=recent_days)
            items = np.flatnonzero(sums["buyers"])
            columns = {name: sums[name][items] for name in ("first_age", *SUMS)}
            yield pa.RecordBatch.from_pydict({"item_index": pa.array(items, pa.int32()), **columns})

    partial = spread_over_cores(histories.select(*HISTORY), "customer_key").mapInArrow(sum_batches, SUMMED)
    rows = partial.groupBy("item_index").agg(
        F.max("first_age").alias("first_age"), *(F.sum(name).alias(name) for name in SUMS)
    ).toArrow()  # fmt: skip
    items = rows["item_index"].to_numpy()
    found: dict[str, Floats] = {}
    for name in ("first_age", *SUMS):
        found[name] = np.zeros(num_items)
        found[name][items] = rows[name].to_numpy()
    return found


def examples_of(
    histories: DataFrame, known: Broadcast[Knowledge], asked: CandidateOptions, settings: RankerSettings
) -> DataFrame:
    """Candidates of customers with `taken`, whether each was taken, and a weight: all that were, and a share of the rest."""
    share, features = settings.negative_share, features_with(asked.settings)

    def learn_batches(batches: Batches) -> Iterator[pa.RecordBatch]:
        give_memory_back()
        for block in blocks_of(batches, known.value, asked):
            candidates = candidates_of(block)
            keys = candidates.customers * block.known.num_items + candidates.items
            customers, items = lists_of(block.rows, "taken")
            label = np.isin(keys, customers * block.known.num_items + items)
            who = block.histories.customer_keys[candidates.customers]
            chosen = label | (_draws(who, candidates.items, settings.seed) < share)
            told = as_trees_know(candidates.features[chosen], features)
            yield pa.RecordBatch.from_pydict(
                {
                    "customer_key": who[chosen],
                    "item_index": pa.array(candidates.items[chosen], pa.int32()),
                    "label": pa.array(label[chosen], pa.int32()),
                    "weight": pa.array(np.where(label[chosen], 1.0, 1 / share), pa.float32()),
                    **dict(zip(features, told.T, strict=True)),
                }
            )

    columns = ", ".join([EXAMPLES, *(f"{name} float" for name in features)])
    spread = spread_over_cores(histories.select(*HISTORY, "taken"), "customer_key")
    return spread.mapInArrow(learn_batches, columns)


def _draws(customers: Ints, items: Ints, seed: int) -> Floats:
    """Even numbers from 0 to 1 that follow from customer and item, whatever batch they are in."""
    mixed = customers.astype(np.uint64) ^ (items.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64's finish
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed >> np.uint64(34)).astype(float) / DRAWS


@dataclass(frozen=True)
class Scored:
    """Items of a block's customers by row, their scores, and why the chosen ones of them are listed."""

    customers: Ints
    items: Ints
    scores: Floats
    reasons: Callable[[Ints], list[str]]


def ranked(
    histories: DataFrame,
    known: Broadcast[Knowledge],
    asked: CandidateOptions,
    *,
    scorer: Callable[[], "Scorer"],
    top_k: int,
) -> DataFrame:
    """One row per customer and rank, `top_k` at most, by the scores of `scorer()`, which is called once per task."""

    def rank_batches(batches: Batches) -> Iterator[pa.RecordBatch]:
        give_memory_back()  # trees may have been trained in this worker before
        score = scorer()
        for block in blocks_of(batches, known.value, asked):
            scored = score(block)
            order, places = best_of(scored.customers, scored.items, scored.scores, top_k)
            yield pa.RecordBatch.from_pydict(
                {
                    "customer_id": block.rows.column("customer_id").take(pa.array(scored.customers[order])),
                    "rank": pa.array(places + 1, pa.int32()),
                    "item_index": pa.array(scored.items[order], pa.int32()),
                    "relevance": scored.scores[order].astype(np.float64),
                    "reason": pa.array(scored.reasons(order), pa.string()),
                }
            )

    spread = spread_over_cores(histories.select("customer_id", *HISTORY), "customer_key")
    return spread.mapInArrow(rank_batches, LISTS)


Scorer = Callable[[Block], Scored]
