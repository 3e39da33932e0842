"""The transformer as an entrant of the recommenders' comparison; torch is imported when it trains or scores."""

import importlib.util
import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark import files
from clm_spark.errors import ContractError, ModelError, SettingsError, TooLittleDataError
from clm_spark.models.item_texts import item_texts
from clm_spark.models.known_items import save_items
from clm_spark.models.recommender import IndexedRecommender
from clm_spark.models.registry.registry import CURVES
from clm_spark.models.task import Inputs, digest, source_digest
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.settings import Settings
from clm_spark.tables.catalog import EVENTS, ITEM_SEQUENCES, ITEM_VOCABULARY

INSTALL = "install the train extra (make setup EXTRA=train), or leave it out: add transformer to evaluation.leave_out"

# Whose code decides what a network does.
MODULES = (
    "clm_spark.models.item_texts",
    "clm_spark.models.top_k",
    *(
        f"clm_spark.models.transformer.{module}"
        for module in (
            "adapters", "batches", "checkpoints", "data", "text_encoder", "losses", "negatives", "network", "score", "task",
            "texts", "train",
        )
    ),
)  # fmt: skip

TRAINED = "trained.json"

log = logging.getLogger(__name__)


class Transformer(IndexedRecommender):
    """A decoder or an encoder over item sequences, trained across workers."""

    name = "transformer"
    words = "transformer"
    section = TransformerSettings
    inputs = (ITEM_SEQUENCES, ITEM_VOCABULARY, EVENTS)
    uses = MODULES
    warm_starts = True

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Train on the sequences of the day, or go on from the model that was tested or is in use, where it is of these settings.

        Then it costs what is new since: a few passes over the sequences of the customers who did anything.
        """
        before = [folder for folder in (holdout, incumbent) if folder]
        train_network(inputs, path, as_of=inputs.as_of, checkpoints=self.name, before=before)
        save_items(path, inputs)

    def settings_used(self, settings: Settings) -> list[str]:
        """Its own, and what sequences are made by."""
        return [*super().settings_used(settings), sequences_by(settings)]

    def differs(self, path: str, inputs: Inputs) -> str | None:
        """As for all indices; and it cannot be asked without torch, of events of other kinds, or when an earlier version saved it."""
        return why_not_asked(path, inputs.settings) or super().differs(path, inputs)

    def lists(self, path: str, inputs: Inputs, *, length: int) -> DataFrame:
        """The items most likely to come next."""
        from clm_spark.models.transformer.score import score_customers_top_k

        lists = score_customers_top_k(
            inputs.read(ITEM_SEQUENCES),
            model_path=f"{path}/model",
            top_k=length,
            hide_seen=inputs.settings.recommend.hide_seen,
            listed=_listed(inputs, inputs.as_of),
        )
        return self.with_item(lists, inputs, reason="follows what the customer took last")


@dataclass(frozen=True)
class Trained:
    """How a network was trained: on the sequences of a day, by settings. Kept beside its folder."""

    as_of: date
    by: str

    @classmethod
    def asked(cls, settings: Settings, as_of: date) -> "Trained":
        """What training asks for. Where and by how many processes decides nothing."""
        own = settings.of(TransformerSettings).model_dump_json(exclude={"launcher", "ranks"})
        return cls(as_of, digest(own, sequences_by(settings)))

    @classmethod
    def read(cls, path: str) -> "Trained | None":
        """Of the network in a folder; None where an earlier release trained it."""
        if not files.exists(f"{path}/{TRAINED}"):
            return None
        told = json.loads(files.read_text(f"{path}/{TRAINED}"))
        return cls(date.fromisoformat(told["as_of"]), told["by"])

    def write(self, path: str) -> None:
        """Keep it in a folder."""
        files.write_text(f"{path}/{TRAINED}", json.dumps({"as_of": str(self.as_of), "by": self.by}))


def train_network(inputs: Inputs, path: str, *, as_of: date, checkpoints: str, before: Collection[str] = ()) -> None:
    """Train a network on the sequences of `as_of` and write it into the folder `model` at `path`.

    Of the folders `before` that hold one of the same settings, that of the latest day is fine-tuned. A training that was
    killed resumes from what is in `checkpoints`. Raises `ModelError` where it cannot be trained.
    """
    try:
        from clm_spark.models.transformer.launch import fit_transformer
        from clm_spark.models.transformer.task import TrainingError
    except ImportError as error:
        raise ModelError(f"the transformer cannot be trained: {error}; {INSTALL}") from None
    # A sequence of one item teaches nothing.
    if inputs.lake.read_as_of(ITEM_SEQUENCES, as_of).where(F.col("length") > 1).isEmpty():
        raise TooLittleDataError(f"the transformer cannot be trained: nobody took to two items before {as_of}")
    try:
        _train(fit_transformer, inputs, path, as_of, checkpoints, before)
    except (TrainingError, SettingsError, ContractError) as error:
        # Ranks that die or cannot be had: the other models go on.
        raise ModelError(f"the transformer cannot be trained: {error}") from error


def copy_network(source: str, path: str) -> None:
    """The network in the folder `model` at `source`, into the same folder at `path`."""
    from clm_spark.models.transformer.network import read_model_files, save_model_files
    from clm_spark.models.transformer.served import describe

    save_model_files(read_model_files(f"{source}/model"), f"{path}/model")
    describe(f"{path}/model")


def network_width(path: str) -> int:
    """How many numbers the output vectors of the network in a folder have."""
    return int(_config(path)["width"])


def _config(path: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(files.read_text(f"{path}/config.json"))
    return config


def sequences_by(settings: Settings) -> str:
    """What of the settings decides which events sequences hold."""
    features = settings.features
    return f"sequences of {', '.join(sorted(features.sequence_kinds))}, {features.sequence_length} at most"


def why_not_asked(path: str, settings: Settings) -> str | None:
    """Why the network saved at `path` cannot be asked, in words; None where it can."""
    if importlib.util.find_spec("torch") is None:
        return f"torch is not installed; {INSTALL}"
    from clm_spark.models.transformer.network import read_model_files

    try:
        read_model_files(f"{path}/model")
    except ContractError as error:
        return str(error)
    known, asked = _config(f"{path}/model").get("sequence_kinds"), sorted(settings.features.sequence_kinds)
    if known and known != asked:
        return (
            f"its network was trained on events of the kinds {', '.join(known)}, and sequences hold {', '.join(asked)}"
        )
    return None


def _train(
    fit: Callable[..., Any], inputs: Inputs, path: str, as_of: date, checkpoints: str, before: Collection[str]
) -> None:
    asked, lake = inputs.settings.of(TransformerSettings), inputs.lake
    listed = _listed(inputs, as_of)
    # An item that is listed no more keeps its index, and may have been the highest.
    trained = Trained.asked(inputs.settings, as_of)
    start, since = _start(before, trained)
    num_items = max(int(listed.max()), int(_config(f"{start}/model")["num_items"]) if start else 0)
    kinds, stored = inputs.settings.features.sequence_kinds, inputs.settings.features.sequence_length
    if asked.max_length >= stored and not start:
        log.warning(
            "transformer.max_length=%d, but sequences hold %d items at most, of which the last is what is asked for: the places "
            "behind are never trained; set transformer.max_length=%d, or a higher features.sequence_length",
            asked.max_length,
            stored,
            stored - 1,
        )
    epochs, purchase_epochs = _epochs(asked, kinds, goes_on=start is not None)
    result = fit(
        lake.spark,
        location=lake.location(ITEM_SEQUENCES),
        version=lake.version(ITEM_SEQUENCES),
        as_of=as_of,
        num_items=num_items,
        settings=asked,
        model_path=f"{path}/model",
        checkpoints=f"{inputs.settings.lakehouse.path}/models/checkpoints/{checkpoints}",
        start_from=f"{start}/model" if start else None,
        since=since,
        code=source_digest(MODULES),
        epochs=epochs,
        purchase_epochs=purchase_epochs,
        items=_facts(inputs, as_of, listed, num_items),
        kinds=kinds,
        hides_seen=inputs.settings.recommend.hide_seen,
        vocabulary_version=lake.version(ITEM_VOCABULARY),
    )
    trained.write(path)
    curves = {"loss": result.losses, "validation_ndcg_at_10": result.ndcgs}
    files.write_text(f"{path}/{CURVES}", json.dumps({name: curve for name, curve in curves.items() if curve}))
    log.info(
        "transformer: %s, %d ranks by %s on %s in %s, %d sequences, loss %.3f to %.3f, epoch %d of %d kept, %.0f s, "
        "%s items/s, waited for data %.1f %% of the time",
        f"warm start from {since}" if start else "from scratch",
        result.ranks,
        asked.launcher,
        result.device,
        result.precision,
        result.num_sequences,
        result.losses[0],
        result.losses[-1],
        result.best_epoch,
        len(result.losses),
        result.seconds,
        f"{result.items_per_second:,.0f}",
        100 * result.stall_share,
    )


def _start(before: Collection[str], asked: Trained) -> tuple[str | None, date | None]:
    """The folder that training goes on from, and of which morning it is; None where none fits."""
    known = {folder: trained for folder in before if (trained := Trained.read(folder)) and trained.by == asked.by}
    start = max(
        (folder for folder in known if known[folder].as_of <= asked.as_of),
        key=lambda folder: known[folder].as_of,
        default=None,
    )
    return start, known[start].as_of if start else None


def _epochs(asked: TransformerSettings, kinds: Collection[str], *, goes_on: bool) -> tuple[int, int]:
    """Passes that ask for every event, and then for purchases alone; only those where it goes on from such a model."""
    if asked.purchase_epochs and "purchase" not in kinds:
        raise SettingsError(
            f"transformer.purchase_epochs={asked.purchase_epochs}, but sequences hold {', '.join(kinds)}: add purchase to "
            "features.sequence_kinds, or set transformer.purchase_epochs=0"
        )
    if not goes_on:
        return asked.epochs, asked.purchase_epochs
    return (0, asked.finetune_epochs) if asked.purchase_epochs else (asked.finetune_epochs, 0)


def _listed(inputs: Inputs, as_of: date) -> NDArray[np.int64]:
    """The indices of the items that lists may show, in order; bounded by `recommend.max_items`."""
    indices = inputs.lake.read_as_of(ITEM_VOCABULARY, as_of).select("item_index").toArrow()["item_index"]
    return np.sort(indices.to_numpy().astype(np.int64))


def _facts(inputs: Inputs, as_of: date, listed: NDArray[np.int64], num_items: int) -> Any:
    from clm_spark.models.transformer.task import ItemFacts
    from clm_spark.models.transformer.texts import frozen_vectors, tokens_of

    asked = inputs.settings.of(TransformerSettings)
    categories = _category_numbers(inputs, as_of, num_items) if asked.item_categories else None
    if not asked.item_text:
        return ItemFacts(listed, categories)
    texts, encoder, most = item_texts(inputs.lake, as_of, asked.item_text), asked.text_encoder, asked.text_tokens
    assert encoder is not None  # the settings see to it
    if asked.text_tuning == "lora":
        tokens = tokens_of(texts, encoder, most_tokens=most, num_items=num_items)
        has_texts, facts = tokens.any(), ItemFacts(listed, categories, tokens=tokens)
    else:
        vectors = frozen_vectors(texts, encoder, most_tokens=most, num_items=num_items)
        has_texts, facts = vectors.any(), ItemFacts(listed, categories, texts=vectors)
    if not has_texts:
        log.warning(
            "transformer.item_text=%s, but no item has a text: expected category, brand or attributes that events have",
            ",".join(asked.item_text),
        )
    return facts


def _category_numbers(inputs: Inputs, as_of: date, num_items: int) -> NDArray[np.int64]:
    """The number of each item index's category, the same on every day; 0 without one, and where it is not listed."""
    from clm_spark.models.transformer.data import NUM_CATEGORIES

    number = F.when(F.col("category").isNull(), 0).otherwise(F.pmod(F.xxhash64("category"), F.lit(NUM_CATEGORIES)) + 1)
    rows = inputs.lake.read_as_of(ITEM_VOCABULARY, as_of).select("item_index", number).toArrow()
    index, numbers = (column.to_numpy() for column in rows.columns)
    categories = np.zeros(num_items + 1, np.int64)
    categories[index] = numbers
    return categories
