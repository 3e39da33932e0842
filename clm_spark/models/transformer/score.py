"""Score customers on the Spark workers: the model loaded once per Python worker, scores in blocks."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from clm_spark.features.sequences import OF_EACH
from clm_spark.models.top_k import Cells, block_length, top_k_of_blocks
from clm_spark.models.transformer.data import Events, Ints, as_events, events_of, pad
from clm_spark.models.transformer.network import NextItemModel, model_from_files, read_model_files
from clm_spark.session import spread_over_cores

AT_ONCE = 256  # customers who go through the network at once: at 256 events each some 0.3 GB
VECTORS = ["customer_id", "as_of", "vector"]
SCORED = "customer_id string, rank int, item_index int, relevance double"
ROWS = pa.schema(
    [("customer_id", pa.string()), ("rank", pa.int32()), ("item_index", pa.int32()), ("relevance", pa.float64())]
)


def score_customers_top_k(
    sequences: DataFrame, *, model_path: str, top_k: int, hide_seen: bool, listed: Ints | None = None
) -> DataFrame:
    """A row per customer and rank: the `top_k` items most likely to come next; relevance is a log share.

    Needs `customer_id`, `item_indices`, `kinds`, `times` and `prices`, oldest first. `hide_seen` leaves out the items of the
    sequence; of the others those with the indices `listed` are shown, or all. The model in `model_path`, a folder on any
    store, is sent to the workers once.
    """
    content = read_model_files(model_path)
    digest = digest_of(content)
    sent = sequences.sparkSession.sparkContext.broadcast((content, listed))

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        model = opened_once(digest, lambda: sent.value[0])
        for batch in batches:
            asked_of = batch["customer_id"], sequences_of(model, batch)
            yield lists_of(model, *asked_of, top_k, hide_seen=hide_seen, listed=sent.value[1])

    asked = spread_over_cores(sequences.select("customer_id", *OF_EACH), "customer_id")
    return asked.mapInArrow(score, SCORED)


def customer_vectors(sequences: DataFrame, *, model_path: str) -> DataFrame:
    """A row per customer and as_of: `vector`, the network's output after the last event that it knows the item of.

    None for those who took to nothing that it knows. Needs `customer_id`, `as_of` and the arrays of gold.item_sequences.
    """
    content = read_model_files(model_path)
    digest = digest_of(content)
    sent = sequences.sparkSession.sparkContext.broadcast(content)

    def turn(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        model = opened_once(digest, lambda: sent.value)
        for batch in batches:
            asked, known = _known(model, sequences_of(model, batch))
            lasts = [events[-model.max_length :] for events in known]
            parts = (lasts[begin : begin + AT_ONCE] for begin in range(0, len(lasts), AT_ONCE))
            vectors = [last_hidden(model, part)[0].numpy().ravel() for part in parts]
            numbers = pa.FixedSizeListArray.from_arrays(
                np.concatenate([np.empty(0, np.float32), *vectors]), model.config.width
            )
            rows = [batch[name].take(pa.array(asked)) for name in ("customer_id", "as_of")]
            yield pa.RecordBatch.from_arrays([*rows, numbers.cast(pa.list_(pa.float32()))], names=VECTORS)

    asked = spread_over_cores(sequences.select("customer_id", "as_of", *OF_EACH), "customer_id", "as_of")
    return asked.mapInArrow(turn, "customer_id string, as_of date, vector array<float>")


def digest_of(content: Mapping[str, bytes]) -> str:
    """Names the files of a model."""
    return hashlib.sha256(b"".join(content.values())).hexdigest()


def top_items(
    model: NextItemModel, sequences: Sequence[Events], k: int, *, hide_seen: bool, listed: Ints | None = None
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """The k best item indices per sequence, among those `listed` or all, and their scores, best first.

    Ties go to the lower index; where fewer are left, 0 and -inf stand behind.
    Sequences here and below are events, or item indices alone.
    """
    by_length = _by_length(sequences)
    in_order = [sequences[n] for n in by_length]
    lasts = [sequence[-model.max_length :] for sequence in in_order]
    rows = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in in_order])
    seen = Cells(rows, np.concatenate([as_events(sequence)[:, 0] for sequence in in_order]) - 1) if hide_seen else None
    unlisted = _unlisted(model, listed)

    def score(customers: slice) -> NDArray[np.floating]:
        scores = score_all(model, lasts[customers])
        scores[:, unlisted] = -torch.inf
        return scores.numpy()

    columns, scores = top_k_of_blocks(score, len(sequences), model.num_items, k, seen, most_at_once=AT_ONCE)
    as_asked = np.argsort(by_length)
    return np.where(columns >= 0, columns + 1, 0)[as_asked], scores[as_asked]


def rank_of_next(
    model: NextItemModel, sequences: Sequence[Events], *, hides_seen: bool, listed: Ints | None = None
) -> NDArray[np.int64]:
    """The place, from 1 on, of each sequence's last item among those `listed` or all, asked after those before it.

    Where `hides_seen`, the items before it have no place, so the last one must be another: `ends_with_a_new_item`.

    Items that score the same stand before it, and all others where a score is no number: a model that knows nothing
    finds nothing.
    """
    places = np.empty(len(sequences), np.int64)
    unlisted = _unlisted(model, listed)
    by_length = _by_length(sequences)
    at_once = min(AT_ONCE, block_length(model.num_items))
    for begin in range(0, len(sequences), at_once):
        chosen = by_length[begin : begin + at_once]
        some = [as_events(sequences[n]) for n in chosen]
        before = [sequence[:-1] for sequence in some]
        wanted = torch.tensor([int(sequence[-1, 0]) - 1 for sequence in some])
        scores = score_all(model, [sequence[-model.max_length :] for sequence in before]).cpu()
        of_wanted = scores.gather(1, wanted[:, None])
        is_before = ~(scores < of_wanted)
        is_before[:, unlisted] = False
        if hides_seen:
            for row, seen in enumerate(before):
                is_before[row, torch.from_numpy(seen[:, 0] - 1)] = False
        is_before.scatter_(1, wanted[:, None], value=False)
        places[chosen] = 1 + is_before.sum(dim=1).numpy()
    return places


def _by_length(sequences: Sequence[Events]) -> NDArray[np.intp]:
    """Their places from the shortest to the longest, so that little is padded in those that are scored together."""
    return np.argsort([len(sequence) for sequence in sequences], kind="stable")


def ends_with_a_new_item(sequence: Events) -> bool:
    """Whether its last item is none of those before it."""
    items = as_events(sequence)[:, 0]
    return items[-1] not in items[:-1]


def _unlisted(model: NextItemModel, listed: Ints | None) -> torch.Tensor:
    """Columns of `score_all` of the items that are not listed."""
    every = np.arange(1, model.num_items + 1)
    return torch.from_numpy(np.setdiff1d(every, every if listed is None else listed) - 1)


@torch.no_grad()
def score_all(model: NextItemModel, sequences: Sequence[Events]) -> torch.Tensor:
    """Scores of every item, column i for item i + 1, after the last item of each sequence."""
    hidden, items, lengths = last_hidden(model, sequences)
    with torch.autocast(model.device.type, enabled=False):  # in bf16 many items would score the same
        taste = model.tastes(hidden.float())
    steps_ago = lengths[:, None] - 1 - torch.arange(items.shape[1], device=model.device)
    repeats = [torch.zeros_like(taste).scatter_add_(1, items, fading) for fading in model.fade(steps_ago)]
    return model.mix(taste, hidden, repeats)[:, 1:]


@torch.no_grad()
def last_hidden(model: NextItemModel, sequences: Sequence[Events]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The output vector that tells what comes after each sequence; their items, padded, and lengths."""
    device = model.device
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
    longest = int(lengths.max()) + model.sees_both_sides
    events = torch.from_numpy(pad([as_events(sequence) for sequence in sequences], longest)).to(device)
    return model.after(events, lengths[:, None] - 1)[:, 0], events[..., 0], lengths


def lists_of(
    model: NextItemModel,
    customers: pa.Array,
    sequences: Sequence[Events],
    k: int,
    *,
    hide_seen: bool,
    listed: Ints | None = None,
) -> pa.RecordBatch:
    """Rows of `SCORED` for customers of these items; none for those whose items the model does not know."""
    asked, known = _known(model, sequences)
    if not known:
        return pa.RecordBatch.from_pylist([], schema=ROWS)
    return _rows(customers.take(pa.array(asked)), *top_items(model, known, k, hide_seen=hide_seen, listed=listed))


def sequences_of(model: NextItemModel, rows: pa.Table | pa.RecordBatch) -> list[Events]:
    """The events of each row of gold.item_sequences, by the kinds that the model knows."""
    events, lengths = events_of(rows, model.config.kinds)
    return np.split(events, np.cumsum(lengths)[:-1])


def _known(model: NextItemModel, sequences: Sequence[Events]) -> tuple[NDArray[np.int64], list[Events]]:
    """The rows with items that the model knows, and their sequences of these."""
    known = [events[events[:, 0] <= model.num_items] for events in sequences]
    asked = np.flatnonzero([len(events) > 0 for events in known])
    return asked, [known[row] for row in asked]


_last: dict[str, NextItemModel] = {}  # Spark keeps its Python workers: the model that this one used last


def opened_once(digest: str, read: Callable[[], Mapping[str, bytes]]) -> NextItemModel:
    """The model of the files that `read` gives and `digest` names, opened once per Python worker."""
    if digest not in _last:
        _last.clear()
        _last[digest] = model_from_files(read())
        _last[digest].keep_item_vectors()
    return _last[digest]


def _rows(customers: pa.Array, indices: NDArray[np.int64], scores: NDArray[np.floating]) -> pa.RecordBatch:
    row, place = np.nonzero(indices)
    columns = [
        customers.take(pa.array(row)),
        pa.array(place + 1, pa.int32()),
        pa.array(indices[row, place], pa.int32()),
        pa.array(scores[row, place].astype(np.float64)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ROWS)
