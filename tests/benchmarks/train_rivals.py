"""SASRec as other libraries train it; each runs in a virtual environment of its own.

`python train_rivals.py rectools|replay SEQUENCES.npz --epochs 3` trains on `items`, numbers from 0 on, of which `ends`
say where each sequence but the last one ends, and prints the seconds of every epoch as JSON: a line that begins with RESULT.
RePlay shares `--negatives` items among all positions of a batch; RecTools draws as many for each position.
"""

import argparse
import json
import time

import numpy as np
import pandas as pd
import torch

RESULT = "RESULT "


def with_rectools(sequences: pd.Series, asked: argparse.Namespace) -> list[float]:
    from pytorch_lightning import Callback, Trainer
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    lengths = sequences.str.len()
    rows = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(len(sequences)), lengths),
            Columns.Item: np.concatenate(sequences.to_numpy()),
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp("2024-01-01")
            + pd.to_timedelta(np.concatenate([np.arange(length) for length in lengths]), unit="h"),
        }
    )
    seconds: list[float] = []

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=asked.epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu", devices=1, callbacks=[epoch_clock(Callback, seconds)],
        )  # fmt: skip

    SASRecModel(
        n_blocks=asked.layers, n_heads=asked.heads, n_factors=asked.width, dropout_rate=asked.dropout,
        session_max_len=asked.length, loss="sampled_softmax", n_negatives=asked.negatives,
        batch_size=asked.batch_size, epochs=asked.epochs, get_trainer_func=trainer,
    ).fit(Dataset.construct(rows))  # fmt: skip
    return seconds


def with_replay(sequences: pd.Series, asked: argparse.Namespace) -> list[float]:
    import lightning
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import PandasSequentialDataset, TensorFeatureInfo, TensorFeatureSource, TensorSchema
    from replay.models.nn.sequential import SasRec
    from replay.models.nn.sequential.sasrec import SasRecTrainingDataset
    from torch.utils.data import DataLoader

    num_items = int(max(items.max() for items in sequences)) + 1
    schema = TensorSchema(
        TensorFeatureInfo(
            name="items", is_seq=True, feature_type=FeatureType.CATEGORICAL, cardinality=num_items,
            padding_value=num_items, embedding_dim=asked.width, feature_hint=FeatureHint.ITEM_ID,
            feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "items")],
        )
    )  # fmt: skip
    table = pd.DataFrame({"query_id": np.arange(len(sequences)), "items": sequences})
    rows = PandasSequentialDataset(schema, "query_id", "items", table)
    seconds: list[float] = []
    model = SasRec(
        schema, block_count=asked.layers, head_count=asked.heads, hidden_size=asked.width, max_seq_len=asked.length,
        dropout_rate=asked.dropout, loss_type="CE", loss_sample_count=asked.negatives, negatives_sharing=True,
    )  # fmt: skip
    loader = DataLoader(SasRecTrainingDataset(rows, asked.length), batch_size=asked.batch_size, shuffle=True)
    lightning.Trainer(
        max_epochs=asked.epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", devices=1,
        callbacks=[epoch_clock(lightning.Callback, seconds)],
    ).fit(model, loader)  # fmt: skip
    return seconds


def epoch_clock(callback: type, seconds: list[float]) -> object:
    """A callback of Lightning that writes down how long each epoch takes."""

    class Clock(callback):
        def on_train_epoch_start(self, *_: object) -> None:
            self.began = time.monotonic()

        def on_train_epoch_end(self, *_: object) -> None:
            seconds.append(time.monotonic() - self.began)

    return Clock()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=("rectools", "replay"))
    parser.add_argument("file")
    for name in ("epochs", "layers", "heads", "width", "length", "negatives", "batch_size", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--dropout", type=float, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    stored = np.load(asked.file)
    sequences = pd.Series(np.split(stored["items"], stored["ends"]))
    seconds = {"rectools": with_rectools, "replay": with_replay}[asked.library](sequences, asked)
    print(RESULT + json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
