"""The transformer on data sets that papers report: which item does a user take next, all items ranked.

`python tests/benchmarks/bench_sequences.py beauty` (or movielens, retailrocket, tafeng) reads the sequences. For each seed it
trains without the items that validate (of Beauty and MovieLens each user's last but one, of Retailrocket and Ta-Feng
the last one known of some) until their NDCG@10 stops rising. Then it trains anew, with these items, for as many epochs as
that took, and ranks all items for what came next, which neither training saw: for Beauty
and MovieLens the user's last item, among those that the user had not taken before, for Ta-Feng the items of the last basket.

`--set epochs=40` tries another setting, `--validate` stops before the test, `--once` tests the model that validation chose, as
papers do, without training anew. `--epochs 21` leaves validation out: it trains for as many epochs as that of an earlier seed
chose, and tests. `--checkpoints FOLDER` keeps one of each epoch there: run again after a kill, a long training goes on from it.
`--pieces` trains on all of a sequence that is longer than `max_length`, in pieces of that length, where otherwise its last
items are looked at; validation then looks at the last item of every piece, so its figures are beside those of other pieces alone. Without the data nothing is done.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sequence_sets import DATA, DAY, SETS, Sequences, SequenceSet, write_sequences

from clm_spark.models.transformer.network import model_from_files
from clm_spark.models.transformer.ranks import OneRank
from clm_spark.models.transformer.score import AT_ONCE, top_items
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.models.transformer.task import ItemFacts, TrainingResult, TrainingTask
from clm_spark.models.transformer.train import train

CUT_OFFS = (10, 20)
SETTINGS = {
    "beauty": {
        "width": 64, "layers": 1, "heads": 1, "max_length": 50, "steps": 50, "dropout": 0.5, "batch_size": 128,
        "epochs": 100, "patience": 10,
    },
    "movielens": {
        "width": 256, "layers": 2, "heads": 4, "max_length": 200, "steps": 200, "dropout": 0.3, "batch_size": 64,
        "negatives": 0, "frequent_negatives": 0.0, "precision": "bf16", "epochs": 22, "patience": 22, "rate": "cosine",
    },
    "tafeng": {
        "width": 64, "layers": 1, "heads": 2, "max_length": 100, "steps": 48, "dropout": 0.3, "batch_size": 64,
        "horizon": 10, "repeat_memory": True, "item_bias": True, "frequent_negatives": 0.0,
        "epochs": 20, "patience": 3,
    },
    "retailrocket": {
        "width": 64, "layers": 1, "heads": 1, "max_length": 20, "steps": 20, "dropout": 0.3, "batch_size": 256,
        "epochs": 30, "patience": 3,
    },
}  # fmt: skip
SHARED = {
    "launcher": "one_process", "horizon": 1, "repeat_memory": False, "item_bias": False, "negatives": 256,
    "frequent_negatives": 0.5, "learning_rate": 1e-3, "weight_decay": 0.01, "rate": "constant",
}  # fmt: skip


def pieces_of(sequences: Sequences, length: int) -> Sequences:
    """The sequences cut from behind into pieces of `length`, so that nothing of a long one is left out; none of one item."""
    pieces = [items[max(0, end - length) : end] for items in sequences for end in range(len(items), 1, -length)]
    return [piece for piece in pieces if len(piece) > 1]


def trained(
    asked_of: SequenceSet, settings: TransformerSettings, epochs: int, *, in_pieces: bool, checkpoints: Path | None
) -> TrainingResult:
    with tempfile.TemporaryDirectory() as temporary:
        # A checkpoint is one of this table: after a kill it must be where it was.
        longest = settings.max_length + 1
        table = (checkpoints or Path(temporary)) / (f"pieces-of-{longest}" if in_pieces else "sequences")
        if not table.exists():
            write_sequences(table, pieces_of(asked_of.train, longest) if in_pieces else asked_of.train)
        task = TrainingTask(
            location=str(table), version=0, as_of=DAY, num_items=asked_of.num_items, settings=settings, epochs=epochs,
            hides_seen=asked_of.hides_seen, items=ItemFacts(categories=asked_of.categories),
            checkpoints=str(checkpoints / f"seed-{settings.seed}-{epochs}-epochs") if checkpoints else None,
        )  # fmt: skip
        return train(task, OneRank(), tell=lambda line: print(f"  {line}", flush=True))


def figures_of(result: TrainingResult, asked_of: SequenceSet) -> dict[str, float]:
    """Means over the histories; NDCG's ideal list is not cut at k. Where one item came next, recall is the hit rate."""
    model = model_from_files(result.files)
    found = []
    for begin in range(0, len(asked_of.histories), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        lists, _ = top_items(model, asked_of.histories[part], max(CUT_OFFS), hide_seen=asked_of.hides_seen)
        found += [np.isin(items, truth) for items, truth in zip(lists, asked_of.truth[part], strict=True)]
    hits, sizes = np.array(found), np.array([len(truth) for truth in asked_of.truth])
    discounts = 1 / np.log2(np.arange(2, 2 + max(sizes.max(), *CUT_OFFS)))
    ideal = np.cumsum(discounts)[sizes - 1]
    firsts = np.where(hits.any(axis=1), 1 + hits.argmax(axis=1), np.inf)
    figures = {}
    for k in CUT_OFFS:
        figures[f"recall@{k}"] = float(np.mean(hits[:, :k].sum(axis=1) / sizes))
        figures[f"NDCG@{k}"] = float(np.mean(hits[:, :k] @ discounts[:k] / ideal))
        figures[f"MRR@{k}"] = float(np.mean(np.where(firsts <= k, 1 / firsts, 0)))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=sorted(SETS))
    parser.add_argument("--folder", type=Path, default=DATA, help="the data sets lie in it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=None, help="of torch; as many as there are cores, if not said")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the transformer's settings")
    parser.add_argument("--validate", action="store_true", help="train for validation alone, and do not test")
    parser.add_argument(
        "--once", action="store_true", help="test the model that validation chose, without training anew"
    )
    parser.add_argument("--epochs", type=int, help="as an earlier seed's validation chose: train for so many, and test")
    parser.add_argument("--checkpoints", type=Path, metavar="FOLDER", help="where a training is kept, epoch by epoch")
    parser.add_argument("--pieces", action="store_true", help="train on all of long sequences, cut into pieces")
    asked = parser.parse_args()
    if asked.epochs is not None and (asked.validate or asked.once):
        parser.error("--epochs leaves out the validation that --validate and --once are about")
    names, read = SETS[asked.data]
    missing = [name for name in names if not (asked.folder / name).exists()]
    if missing:
        print(f"{asked.folder} has no {missing[0]}: nothing is compared")
        return
    if asked.threads:
        torch.set_num_threads(asked.threads)
    asked_of = read(asked.folder)
    print(
        f"{asked.data}: {len(asked_of.train):,} sequences to learn from, {len(asked_of.histories):,} histories, "
        f"{asked_of.num_items:,} items"
    )
    changes = dict(pair.split("=", 1) for pair in asked.set)
    plain = {**SHARED, **SETTINGS[asked.data], "validation_share": asked_of.validation_share, **changes}
    kept = asked.checkpoints / asked.data if asked.checkpoints else None
    found = []
    for seed in asked.seeds:
        settings = TransformerSettings.model_validate({**plain, "seed": seed})
        began = time.monotonic()
        epochs, result = asked.epochs, None
        if epochs is None:
            print(f"seed {seed}, without the items that validate:")
            result = trained(asked_of, settings, settings.epochs, in_pieces=asked.pieces, checkpoints=kept)
            epochs = result.best_epoch
            print(
                f"  best NDCG@10 {max(result.ndcgs):.4f} after {epochs} epochs, {result.seconds:.0f} s, "
                f"{result.items_per_second:,.0f} items/s, waited for data {result.stall_share:.1%} of the time"
            )
        if asked.validate:
            continue
        if result is None or not asked.once:
            print(f"seed {seed}, with them:")
            settings = settings.model_copy(update={"patience": None})
            result = trained(asked_of, settings, epochs, in_pieces=asked.pieces, checkpoints=kept)
        found.append(figures_of(result, asked_of))
        told = ", ".join(f"{metric} {value:.4f}" for metric, value in found[-1].items())
        print(f"  {told}; {time.monotonic() - began:.0f} s in all", flush=True)
    if found:
        means = {metric: float(np.mean([each[metric] for each in found])) for metric in found[0]}
        spreads = {metric: float(np.std([each[metric] for each in found])) for metric in found[0]}
        print(f"mean of {len(found)} seeds: " + ", ".join(f"{m} {means[m]:.4f} (sd {spreads[m]:.4f})" for m in means))


if __name__ == "__main__":
    main()
