import numpy as np
import pytest
import torch
from sequences import DEBUG_SIZE, MONDAY, NUM_ITEMS, TUESDAY, cycles, write_sequences

from clm_spark.errors import ContractError
from clm_spark.models.transformer.network import load_model
from clm_spark.models.transformer.score import top_items
from clm_spark.models.transformer.train import OneRank, TrainingTask, train


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small only wait for each other
    yield
    torch.set_num_threads(threads)


def task(table, version=0, **changes) -> TrainingTask:
    plain = {
        "location": str(table), "version": version, "as_of": MONDAY, "num_items": NUM_ITEMS, "settings": DEBUG_SIZE,
        "model_path": str(table.parent / "model"), "start_from": None, "epochs": 12,
    }  # fmt: skip
    return TrainingTask(**{**plain, **changes})


def share_right(model) -> float:
    """How often the best item of customers never seen is the one that really came next."""
    unseen = cycles(200, seed=8)
    best, _ = top_items(model, [np.array(items[:-1]) for items in unseen], 1, hide_seen=False)
    return float(np.mean(best[:, 0] == [items[-1] for items in unseen]))


def test_the_decoder_learns_what_popularity_cannot(tmp_path):
    table = tmp_path / "sequences"
    write_sequences(table, cycles(200))
    result = train(task(table), OneRank())
    model = load_model(tmp_path / "model")
    assert share_right(model) > 0.95
    with torch.no_grad():
        model.item_vectors.zero_()
        model.repeat_weight.bias.fill_(-30)
    assert share_right(model) < 3 / NUM_ITEMS, "popularity alone is chance"
    assert (len(result.losses), result.num_sequences, result.ranks, result.device) == (12, 200, 1, "cpu")
    assert result.losses[-1] < 0.2 < result.losses[0]
    assert result.items_per_second > 0


def test_training_goes_on_with_a_larger_vocabulary(tmp_path):
    table = tmp_path / "sequences"
    write_sequences(table, cycles(100))
    first, again = (train(task(table, epochs=2), OneRank()) for _ in range(2))
    assert (first.losses, first.weights_sha256) == (again.losses, again.weights_sha256), "seeded"
    write_sequences(table, [[*items, NUM_ITEMS + 1, NUM_ITEMS + 2] for items in cycles(100)], TUESDAY)
    model_path = str(tmp_path / "model")
    result = train(task(table, 1, as_of=TUESDAY, num_items=NUM_ITEMS + 2, start_from=model_path, epochs=2), OneRank())
    assert load_model(model_path).num_items == NUM_ITEMS + 2
    assert len(result.losses) == 2
    assert [folder.name for folder in tmp_path.iterdir() if folder.name.startswith(".")] == [], "nothing half written"


def test_nothing_to_train_on_is_named(tmp_path):
    write_sequences(tmp_path / "sequences", [[1, 2]])
    with pytest.raises(ContractError, match="run build_interactions for that day"):
        train(task(tmp_path / "sequences", as_of=TUESDAY), OneRank())
