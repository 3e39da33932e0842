"""The transformer on data sets that papers report, leave-one-out: which item does a user take next, all items ranked.

`python tests/benchmarks/bench_leave_one_out.py beauty` (or movielens) reads the sequences, and for each seed trains
without each user's last two items until the NDCG@10 on the last but one stops rising. Then it trains anew, without the
last item alone, for as many epochs as that took, and ranks all items but those of the user's history against the last.
`--set epochs=40` tries another setting, `--validate` stops before the test. Without the data nothing is done.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sequence_sets import DATA, DAY, LEAVE_ONE_OUT, Sequences, write_sequences

from clm_spark.models.transformer.network import model_from_files
from clm_spark.models.transformer.score import rank_of_next
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.models.transformer.train import OneRank, TrainingResult, TrainingTask, train

CUT_OFFS = (5, 10, 20)
SHARED = {"launcher": "one_process", "horizon": 1, "repeat_memory": False, "validation_share": 1.0}
SETTINGS = {
    "beauty": {
        "width": 64, "layers": 1, "heads": 1, "max_length": 50, "steps": 50, "dropout": 0.5, "item_bias": False,
        "negatives": 256, "frequent_negatives": 0.5, "batch_size": 128, "learning_rate": 1e-3, "weight_decay": 0.01, "rate": "constant",
        "epochs": 100, "patience": 10,
    },
    "movielens": {
        "width": 128, "layers": 2, "heads": 2, "max_length": 200, "steps": 200, "dropout": 0.2, "item_bias": False,
        "negatives": 256, "frequent_negatives": 0.5, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 0.01, "rate": "constant",
        "epochs": 100, "patience": 8,
    },
}  # fmt: skip


def trained(sequences: Sequences, settings: TransformerSettings, epochs: int, num_items: int) -> TrainingResult:
    with tempfile.TemporaryDirectory() as folder:
        location = write_sequences(Path(folder) / "sequences", sequences)
        asked = TrainingTask(
            location=location, version=0, as_of=DAY, num_items=num_items, settings=settings, epochs=epochs,
            hides_seen=True,
        )  # fmt: skip
        return train(asked, OneRank(), tell=lambda line: print(f"  {line}", flush=True))


def figures_of(result: TrainingResult, sequences: Sequences) -> dict[str, float]:
    places = rank_of_next(model_from_files(result.files), sequences, hides_seen=True)
    hits = {f"HR@{k}": float(np.mean(places <= k)) for k in CUT_OFFS}
    gains = {f"NDCG@{k}": float(np.mean(np.where(places <= k, 1 / np.log2(places + 1), 0))) for k in CUT_OFFS}
    return hits | gains


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=sorted(LEAVE_ONE_OUT))
    parser.add_argument("--folder", type=Path, default=DATA, help="the data sets lie in it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=None, help="of torch; as many as there are cores, if not said")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the transformer's settings")
    parser.add_argument("--validate", action="store_true", help="train for validation alone, and do not test")
    asked = parser.parse_args()
    name, read = LEAVE_ONE_OUT[asked.data]
    if not (asked.folder / name).exists():
        print(f"{asked.folder} has no {name}: nothing is compared")
        return
    if asked.threads:
        torch.set_num_threads(asked.threads)
    changes = {
        key: json.loads(value) if value[:1] not in "abcdefglhorsu" or value in ("true", "false") else value
        for key, _, value in (pair.partition("=") for pair in asked.set)
    }
    sequences = read(asked.folder / name)
    num_items = int(max(items.max() for items in sequences))
    print(f"{asked.data}: {len(sequences):,} users, {num_items:,} items, {sum(map(len, sequences)):,} actions")
    found = []
    for seed in asked.seeds:
        settings = TransformerSettings.model_validate({**SHARED, **SETTINGS[asked.data], **changes, "seed": seed})
        began = time.monotonic()
        print(f"seed {seed}, without the last two items:")
        validated = trained([items[:-1] for items in sequences], settings, settings.epochs, num_items)
        print(
            f"  best NDCG@10 {max(validated.ndcgs):.4f} after {validated.best_epoch} epochs, {validated.seconds:.0f} s, {validated.items_per_second:,.0f} items/s, stalled {validated.stall_share:.1%}"
        )
        if asked.validate:
            continue
        print(f"seed {seed}, without the last item:")
        whole = settings.model_copy(update={"patience": None})
        result = trained([items[:-1] for items in sequences], whole, validated.best_epoch, num_items)
        found.append(figures_of(result, sequences))
        told = ", ".join(f"{metric} {value:.4f}" for metric, value in found[-1].items())
        print(f"  {told}; {time.monotonic() - began:.0f} s in all", flush=True)
    if found:
        means = {metric: float(np.mean([each[metric] for each in found])) for metric in found[0]}
        spreads = {metric: float(np.std([each[metric] for each in found])) for metric in found[0]}
        print(f"mean of {len(found)} seeds: " + ", ".join(f"{m} {means[m]:.4f} (sd {spreads[m]:.4f})" for m in means))


if __name__ == "__main__":
    main()
