import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import torch
from ranks_in_turn import train_in_turn
from sequences import DEBUG_SIZE, FIRST_AT, KINDS, MONDAY, NUM_ITEMS, TUESDAY, cycles, write_sequences

from clm_spark.errors import ContractError
from clm_spark.models.transformer import served
from clm_spark.models.transformer import train as training
from clm_spark.models.transformer.checkpoints import Checkpoints
from clm_spark.models.transformer.data import read_shard, table_id
from clm_spark.models.transformer.network import model_from_files, save_model_files
from clm_spark.models.transformer.ranks import OneRank
from clm_spark.models.transformer.score import rank_of_next, top_items
from clm_spark.models.transformer.task import ItemFacts, TrainingError, TrainingTask
from clm_spark.models.transformer.train import train


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small only wait for each other
    yield
    torch.set_num_threads(threads)


def task(table, version=0, **changes) -> TrainingTask:
    plain = {
        "location": str(table), "version": version, "as_of": MONDAY, "num_items": NUM_ITEMS, "settings": DEBUG_SIZE,
        "epochs": 12, "kinds": KINDS,
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
    model = model_from_files(result.files)
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
    onward = task(table, 1, as_of=TUESDAY, num_items=NUM_ITEMS + 2, start_from=again.files, epochs=2)
    result = train(onward, OneRank())
    assert model_from_files(result.files).num_items == NUM_ITEMS + 2
    assert len(result.losses) == 2
    assert result.losses[0] < first.losses[-1], "it went on from where the first stood"


def test_the_rate_falls_to_the_end(tmp_path, monkeypatch):
    """Also where patience leaves out epochs before those of purchases; fine-tuning stays below its share."""
    table, rates = tmp_path / "sequences", []
    write_sequences(table, cycles(60))
    set_rate = training._set_rate
    monkeypatch.setattr(training, "_set_rate", lambda optimizer, rate: (rates.append(rate), set_rate(optimizer, rate)))
    settings = DEBUG_SIZE.model_copy(
        update={"patience": 1, "validation_share": 1.0, "finetune_rate": 0.2, "horizon": 2}
    )
    first = train(task(table, settings=settings, epochs=200, purchase_epochs=2), OneRank())
    assert len(first.losses) < 202
    assert 0.05 <= rates[-1] / settings.learning_rate < 0.08 < max(rates) / settings.learning_rate <= 1
    rates.clear()
    train(task(table, settings=settings, start_from=first.files, epochs=2), OneRank())
    assert 0.1 < max(rates) / settings.learning_rate <= 0.2


def test_a_day_without_news_leaves_the_network_as_it_is(tmp_path):
    table = tmp_path / "sequences"
    write_sequences(table, cycles(60))
    first = train(task(table, epochs=2), OneRank())
    late = FIRST_AT.date() + timedelta(days=30)
    same = train(task(table, start_from=first.files, epochs=2, since=late), OneRank())
    assert (same.num_sequences, same.losses) == (0, (0.0, 0.0))
    known, model = (model_from_files(files).state_dict() for files in (first.files, same.files))
    assert all(torch.equal(known[name], weights) for name, weights in model.items())


def test_nothing_to_ask_is_refused(tmp_path):
    """Sequences of one item; and sequences of which no event is known to be a purchase."""
    write_sequences(tmp_path / "short", [(1,)] * 30)
    write_sequences(tmp_path / "unknown", [(1, 2)] * 30, kinds=False)
    for name, wanted in (("short", "an item"), ("unknown", "a purchase")):
        with pytest.raises(TrainingError, match=f"expected customers with {wanted} within 1 items after .* got none"):
            train(task(tmp_path / name, epochs=1, purchase_epochs=1), OneRank())


def test_a_table_that_was_made_again_is_another(tmp_path):
    """Its versions begin anew, so that they alone would let a training go on from a checkpoint on other rows."""
    table, ids = tmp_path / "sequences", []
    for seed in (7, 8):
        shutil.rmtree(table, ignore_errors=True)
        write_sequences(table, cycles(20, seed=seed))
        ids.append(table_id(str(table)))
    first, again = (task(table, table_id=each) for each in ids)
    assert (first.location, first.version) == (again.location, again.version)
    assert first.name != again.name


def test_an_item_that_was_never_taken_starts_as_a_new_one(tmp_path):
    """One that is back after it was retired, beside one that is new: both as often as any other by now."""
    table, back, new = tmp_path / "sequences", NUM_ITEMS, NUM_ITEMS + 1
    write_sequences(table, [[item for item in items if item != back] for items in cycles(100)])
    first = train(task(table, epochs=1, items=ItemFacts(np.arange(1, back))), OneRank())
    write_sequences(table, [[*items, back, new] for items in cycles(100)], TUESDAY)
    hardly = DEBUG_SIZE.model_copy(update={"learning_rate": 1e-9})
    onward = task(table, 1, as_of=TUESDAY, num_items=new, start_from=first.files, epochs=1, settings=hardly)
    known, model = (model_from_files(files) for files in (first.files, train(onward, OneRank()).files))
    mean = known.items.weight[1:].mean(dim=0)
    for item in (back, new):
        assert torch.allclose(model.items.weight[item], mean, atol=1e-6)
        assert model.popularity[item] > model.popularity[1:back].median() - 1
    assert torch.allclose(model.items.weight[1:back], known.items.weight[1:back], atol=1e-6), "the others go on"
    assert torch.allclose(model.popularity[1:back], known.popularity[1:back], atol=1e-6)


def test_a_model_that_is_served_lists_what_could_be_recommended(tmp_path):
    table, listed = tmp_path / "sequences", np.array([2, 3, 5, 7])
    write_sequences(table, cycles(60))
    result = train(task(table, epochs=1, items=ItemFacts(listed)), OneRank())
    save_model_files(result.files, f"file://{tmp_path}/model")
    noon = pd.Timestamp("2024-01-01 12:00", tz="UTC")
    asked = {
        "customer_id": ["a"],
        "item_indices": [[2, 4]],
        "kinds": [["view"] * 2],
        "times": [[noon] * 2],
        "prices": [[1.0] * 2],
    }
    rows = served._load_pyfunc(f"{tmp_path}/model").predict(pd.DataFrame(asked), {"top_k": 9})
    assert sorted(rows["item_index"]) == listed.tolist()


def test_any_number_of_ranks_trains_the_same_model(tmp_path):
    """Of 200 items most are never taken: their bias starts at the same share of all events on eight ranks as on one."""
    write_sequences(tmp_path / "sequences", cycles(61))
    settings = DEBUG_SIZE.model_copy(update={"patience": 3, "validation_share": 0.3})
    asked = task(tmp_path / "sequences", settings=settings, num_items=200, epochs=2)
    alone = train(asked, OneRank())
    for size in (2, 8):
        of_ranks = train_in_turn(size, lambda rank: train(asked, rank))
        assert len({result.weights_sha256 for result in of_ranks}) == 1
        assert np.allclose(of_ranks[0].losses, alone.losses, rtol=1e-5), size
        assert of_ranks[0].ndcgs == pytest.approx(alone.ndcgs, abs=0.01), size


def test_an_encoder_learns_it_too(tmp_path):
    table = tmp_path / "sequences"
    write_sequences(table, cycles(200))
    # Of width 16 and in 40 epochs, one seed in five gets there; so wide and long, all of five.
    changes = {"width": 32, "attention": "both_sides", "positions": "rotary", "repeat_memory": False}
    result = train(task(table, settings=DEBUG_SIZE.model_copy(update=changes), epochs=80), OneRank())
    model = model_from_files(result.files)
    assert model.sees_both_sides
    assert share_right(model) > 0.9


def views_and_purchases(num_customers: int, seed: int = 7) -> list[list[int]]:
    """Views of random items, each followed by the purchase of the item after it, and a view in the end."""
    random = np.random.default_rng(seed)
    views = [random.integers(1, NUM_ITEMS + 1, size) for size in random.integers(3, 7, num_customers)]
    return [[item for view in some for item in (view, 1 + view % NUM_ITEMS)] + [some[0]] for some in views]


def test_purchases_alone_are_asked_for_in_the_end(tmp_path):
    """Views are chance here and purchases are not: the loss of purchases goes to nothing, that of all events does not."""
    table = tmp_path / "sequences"
    write_sequences(table, views_and_purchases(200))
    told = []
    result = train(task(table, epochs=4, purchase_epochs=12), OneRank(), tell=told.append)
    assert len(result.losses) == 16
    assert min(result.losses[:4]) > 0.4 * np.log(NUM_ITEMS)
    assert result.losses[-1] < 0.3
    assert told[3].startswith("epoch 4 of 16: loss")
    assert told[4].startswith("epoch 5 of 16, of purchases: loss")

    settings = DEBUG_SIZE.model_copy(update={"patience": 30, "validation_share": 0.5})
    last_event = train(task(table, settings=settings, epochs=16), OneRank())
    last_purchase = train(task(table, settings=settings, epochs=4, purchase_epochs=12), OneRank())
    assert max(last_purchase.ndcgs) > 0.9
    assert max(last_event.ndcgs) < 0.5, "it ends with a view"


def test_patience_goes_over_to_purchases_from_the_best_epoch(tmp_path):
    table = tmp_path / "sequences"
    write_sequences(table, views_and_purchases(80))
    settings = DEBUG_SIZE.model_copy(update={"patience": 2, "validation_share": 0.5, "learning_rate": 0.1})
    told = []
    result = train(task(table, settings=settings, epochs=60, purchase_epochs=5), OneRank(), tell=told.append)
    of_purchases = ["of purchases" in line for line in told]
    first = of_purchases.index(True)
    assert 2 < first < 60
    assert first - 2 == 1 + int(np.argmax(result.ndcgs[:first])), "patience was at its end"
    assert all(of_purchases[first:])
    assert 2 <= len(told) - first <= 5


def killed_after(epoch, monkeypatch):
    """Training dies once the checkpoint of an epoch is written."""
    save = Checkpoints.save

    def dies(self, made, state):
        save(self, made, state)
        if made == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", dies)


@pytest.mark.parametrize(
    ("changes", "purchase_epochs"),
    [({"dropout": 0.4}, 0), ({"patience": 2, "validation_share": 0.5}, 0), ({"attention": "both_sides"}, 3)],
)
def test_a_training_that_was_killed_goes_on_as_if_undisturbed(tmp_path, changes, purchase_epochs):
    table = tmp_path / "sequences"
    write_sequences(table, cycles(100))
    settings = DEBUG_SIZE.model_copy(update=changes)
    asked = {"settings": settings, "epochs": 6 - purchase_epochs, "purchase_epochs": purchase_epochs}
    undisturbed = train(task(table, **asked), OneRank())
    kept = {**asked, "checkpoints": str(tmp_path / "checkpoints")}
    for epoch in (2, 4):
        with pytest.MonkeyPatch.context() as patched:
            killed_after(epoch, patched)
            with pytest.raises(KeyboardInterrupt):
                train(task(table, **kept), OneRank())
        assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == [f"epoch-{epoch}.pt"]
    told = []
    resumed = train(task(table, **kept), OneRank(), tell=told.append)
    of_purchases = ", of purchases" if purchase_epochs else ""
    assert [line.partition(":")[0] for line in told] == [f"epoch {n} of 6{of_purchases}" for n in (5, 6)]
    assert resumed.weights_sha256 == undisturbed.weights_sha256
    assert (resumed.losses, resumed.ndcgs) == (undisturbed.losses, undisturbed.ndcgs)

    # What is trained otherwise does not go on from there.
    told.clear()
    other = {**kept, "settings": asked["settings"].model_copy(update={"seed": 8})}
    train(task(table, **other), OneRank(), tell=told.append)
    assert len(told) == 6


def test_training_stops_when_validation_does_and_keeps_the_best(tmp_path):
    table = tmp_path / "sequences"
    random = np.random.default_rng(7)
    write_sequences(table, [random.integers(1, NUM_ITEMS + 1, 12) for _ in range(80)])  # nothing to learn
    settings = DEBUG_SIZE.model_copy(update={"patience": 3, "validation_share": 0.5})
    result = train(task(table, settings=settings, epochs=60), OneRank())
    made = len(result.ndcgs)
    assert made < 60
    assert result.best_epoch == made - 3 == 1 + int(np.argmax(result.ndcgs))
    shard = read_shard(str(table), 0, as_of=MONDAY, rank=0, ranks=1, max_length=settings.max_length + 1, kinds=KINDS)
    _, validated = shard.split(0.5, settings.seed)
    places = rank_of_next(model_from_files(result.files), validated, hides_seen=False)
    kept = np.mean(np.where(places <= 10, 1 / np.log2(places + 1), 0))
    assert abs(kept - max(result.ndcgs)) < 1e-9
    assert kept > result.ndcgs[-1]


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_loss_without_end_is_named(tmp_path, num_ranks):
    write_sequences(tmp_path / "sequences", cycles(40))
    settings = DEBUG_SIZE.model_copy(update={"patience": 2, "validation_share": 0.5, "learning_rate": 1e30})
    asked = task(tmp_path / "sequences", settings=settings)
    with pytest.raises(TrainingError, match=r"^epoch 1: .* transformer\.learning_rate=1e\+30: lower it$"):
        train_in_turn(num_ranks, lambda rank: train(asked, rank))


def test_fine_tuning_learns_from_all_sequences(tmp_path):
    table = tmp_path / "sequences"
    write_sequences(table, cycles(40))
    settings = DEBUG_SIZE.model_copy(update={"patience": 1, "validation_share": 1.0})
    tested = train(task(table, settings=settings, epochs=2), OneRank())
    patient, plain = (
        train(task(table, settings=each, epochs=3, start_from=tested.files), OneRank())
        for each in (settings, settings.model_copy(update={"patience": None}))
    )
    assert len(tested.ndcgs) == 2
    assert (patient.losses, patient.ndcgs, patient.weights_sha256) == (plain.losses, (), plain.weights_sha256)


def test_without_anyone_to_validate_all_epochs_are_made(tmp_path):
    write_sequences(tmp_path / "sequences", [[1, 2]] * 40)
    settings = DEBUG_SIZE.model_copy(update={"patience": 1, "validation_share": 1.0})
    result = train(task(tmp_path / "sequences", settings=settings, epochs=4), OneRank())
    assert (len(result.losses), result.ndcgs, result.best_epoch) == (4, (), 4)


def test_a_model_of_other_kinds_is_not_gone_on_from(tmp_path):
    table = tmp_path / "sequences"
    write_sequences(table, cycles(20))
    first = train(task(table, epochs=1), OneRank())
    with pytest.raises(
        ContractError, match="knows events of the kinds view, purchase and the sequences hold cart, view"
    ):
        train(task(table, epochs=1, kinds=("cart", "view"), start_from=first.files), OneRank())


def test_nothing_to_train_on_is_named(tmp_path):
    write_sequences(tmp_path / "sequences", [[1, 2]])
    with pytest.raises(ContractError, match="run build_interactions for that day"):
        train(task(tmp_path / "sequences", as_of=TUESDAY), OneRank())
