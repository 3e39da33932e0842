import math

import numpy as np
import pytest
import torch
from sequences import DEBUG_SIZE, NUM_ITEMS

from clm_spark.errors import ContractError
from clm_spark.models.transformer.losses import next_items_loss
from clm_spark.models.transformer.network import load_model, model_from_files, new_model, save_model_files
from clm_spark.models.transformer.score import score_all, top_items

SEQUENCES = [np.array(items) for items in ([1, 2, 3], [4], [5, 6, 5, 6, 5, 6, 7])]


@pytest.fixture
def model():
    torch.manual_seed(7)
    model = new_model(NUM_ITEMS, DEBUG_SIZE)
    model.set_popularity(torch.arange(NUM_ITEMS + 1))
    return model.eval()


def test_a_saved_model_scores_the_same(model, tmp_path):
    for url in (str(tmp_path / "model"), f"file://{tmp_path}/model"):
        save_model_files(model.to_files(), url)
        assert torch.equal(score_all(load_model(url), SEQUENCES), score_all(model, SEQUENCES))
    with pytest.raises(ContractError, match="no trained model at"):
        load_model(f"file://{tmp_path}/elsewhere")


def test_a_grown_model_scores_old_items_as_before(model):
    grown = model.grow(NUM_ITEMS + 5)
    scores = score_all(grown, SEQUENCES)
    assert torch.allclose(scores[:, :NUM_ITEMS], score_all(model, SEQUENCES), atol=1e-6)
    assert scores.shape == (3, NUM_ITEMS + 5)
    assert bool(torch.isfinite(scores).all())
    assert model_from_files(grown.to_files()).num_items == NUM_ITEMS + 5
    with pytest.raises(ContractError, match="knows 35 items and the vocabulary has 30"):
        grown.grow(NUM_ITEMS)


def test_customers_beside_each_other_do_not_matter(model):
    alone = torch.cat([score_all(model, [sequence]) for sequence in SEQUENCES])
    assert torch.allclose(score_all(model, SEQUENCES), alone, atol=1e-5)


def test_what_was_taken_before_ranks_higher(model):
    fresh, again = score_all(model, [np.array([9, 8, 9, 8, 10]), np.array([7, 6, 7, 6, 10])])
    assert float(fresh[8] - again[8]) > 0.5  # item 9
    hidden, _ = top_items(model, SEQUENCES, NUM_ITEMS, hide_seen=True)
    for sequence, items in zip(SEQUENCES, hidden, strict=True):
        left = set(range(1, NUM_ITEMS + 1)) - set(sequence.tolist())
        assert set(items[: len(left)].tolist()) == left
        assert set(items[len(left) :].tolist()) == {0}


def test_with_every_item_as_negative_the_loss_is_the_full_softmax(model):
    """The oracle: log-softmax over all scores, written out for one customer, one step and the next two items."""
    items = torch.tensor([[3, 5, 3, 9, 4, 0]])
    candidates, places = torch.tensor([[3, 4, 5, 9]]), torch.tensor([[0, 2, 0, 3, 1, 0]])
    with torch.no_grad():
        loss = next_items_loss(
            model, items=items, candidates=candidates, places=places, positions=torch.tensor([[2]]),
            is_asked=torch.tensor([[True]]), negatives=torch.arange(1, NUM_ITEMS + 1), horizon=2,
        )  # fmt: skip
    shares = torch.log_softmax(score_all(model, [np.array([3, 5, 3])])[0], dim=0)
    expected = -(shares[9 - 1] + shares[4 - 1]) / 2
    assert math.isclose(float(loss), float(expected), abs_tol=1e-5)
