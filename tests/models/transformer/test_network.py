import math

import numpy as np
import pytest
import torch
from sequences import DEBUG_SIZE, KINDS, NUM_ITEMS
from transformers import AutoModel

from clm_spark.errors import ContractError
from clm_spark.models.transformer import losses
from clm_spark.models.transformer.losses import NextItemsLoss
from clm_spark.models.transformer.negatives import Negatives
from clm_spark.models.transformer.network import (
    NextItemModel,
    load_model,
    model_from_files,
    new_model,
    save_model_files,
)
from clm_spark.models.transformer.score import ends_with_a_new_item, rank_of_next, score_all, top_items

SEQUENCES = [np.array(items) for items in ([1, 2, 3], [4], [5, 6, 5, 6, 5, 6, 7])]


LONG = [np.array(items) for items in ([1, 2, 3], [4, 4], [5, 6, 5, 6, 5, 6, 7])]


def made(**changes):
    torch.manual_seed(7)
    model = new_model(NUM_ITEMS, DEBUG_SIZE.model_copy(update=changes), kinds=KINDS)
    model.set_popularity(torch.arange(NUM_ITEMS + 1))
    return model.eval()


@pytest.fixture
def model():
    return made()


def test_a_saved_model_scores_the_same(model, tmp_path):
    for url in (str(tmp_path / "model"), f"file://{tmp_path}/model"):
        save_model_files(model.to_files(), url)
        assert torch.equal(score_all(load_model(url), SEQUENCES), score_all(model, SEQUENCES))
    (tmp_path / "model" / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(
        ContractError, match="saved by an earlier version, as gpt2: expected clm-next-item; train it again"
    ):
        load_model(str(tmp_path / "model"))
    with pytest.raises(ContractError, match="no trained model at"):
        load_model(f"file://{tmp_path}/elsewhere")


def test_a_grown_model_scores_old_items_as_before(model):
    grown = model.grow(NUM_ITEMS + 5)
    scores = score_all(grown, SEQUENCES)
    assert torch.allclose(scores[:, :NUM_ITEMS], score_all(model, SEQUENCES), atol=1e-6)
    assert scores.shape == (3, NUM_ITEMS + 5)
    assert bool(torch.isfinite(scores).all())
    assert model_from_files(grown.to_files()).num_items == NUM_ITEMS + 5
    with pytest.raises(ContractError, match="knows 35 items and would know 30: expected as many or more"):
        grown.grow(NUM_ITEMS)


def test_customers_beside_each_other_do_not_matter(model):
    alone = torch.cat([score_all(model, [sequence]) for sequence in SEQUENCES])
    assert torch.allclose(score_all(model, SEQUENCES), alone, atol=1e-5)


def test_an_encoder_sees_both_sides_and_not_what_is_masked(tmp_path):
    encoder = made(attention="both_sides", repeat_memory=False, positions="rotary")
    alone = torch.cat([score_all(encoder, [sequence]) for sequence in SEQUENCES])
    assert torch.allclose(score_all(encoder, SEQUENCES), alone, atol=1e-5), "nor the padding of others"
    save_model_files(encoder.to_files(), str(tmp_path / "model"))
    assert torch.equal(score_all(load_model(str(tmp_path / "model")), SEQUENCES), score_all(encoder, SEQUENCES))

    events = torch.zeros((1, 6, 4), dtype=torch.long)
    events[0, :5, 0] = torch.tensor([3, 4, 5, 6, 7])

    def after_two(changed=None, of=encoder):
        asked = events.clone()
        if changed is not None:
            asked[0, changed] = torch.tensor([9, 2, 4, 7])
        return of.after(asked, torch.tensor([[1]]))

    with torch.no_grad():
        assert torch.equal(after_two(), after_two(2)), "what is masked: its item, its kind, its gap and its price"
        assert not torch.allclose(after_two(), after_two(0), atol=1e-4)
        assert not torch.allclose(after_two(), after_two(4), atol=1e-4), "what comes later"
        decoder = made()
        assert torch.equal(after_two(of=decoder), after_two(2, of=decoder))
        assert torch.equal(after_two(of=decoder), after_two(4, of=decoder))
        assert not torch.allclose(after_two(of=decoder), after_two(0, of=decoder), atol=1e-4)
    with pytest.raises(ValueError, match="needs horizon 1"):
        DEBUG_SIZE.model_validate({**DEBUG_SIZE.model_dump(), "attention": "both_sides", "horizon": 2})


def test_what_was_taken_before_ranks_higher(model):
    fresh, again = score_all(model, [np.array([9, 8, 9, 8, 10]), np.array([7, 6, 7, 6, 10])])
    assert float(fresh[8] - again[8]) > 0.5  # item 9
    hidden, _ = top_items(model, SEQUENCES, NUM_ITEMS, hide_seen=True)
    for sequence, items in zip(SEQUENCES, hidden, strict=True):
        left = set(range(1, NUM_ITEMS + 1)) - set(sequence.tolist())
        assert set(items[: len(left)].tolist()) == left
        assert set(items[len(left) :].tolist()) == {0}


def test_items_that_are_not_listed_make_room_for_others(model):
    every = np.arange(1, NUM_ITEMS + 1)
    listed = every[every % 4 > 0]
    for hide_seen in (False, True):
        whole, scores = top_items(model, SEQUENCES, NUM_ITEMS, hide_seen=hide_seen)
        items, of_items = top_items(model, SEQUENCES, 5, hide_seen=hide_seen, listed=listed)
        for row in range(len(SEQUENCES)):
            expected = [place for place, item in enumerate(whole[row]) if item in listed][:5]
            assert items[row].tolist() == whole[row][expected].tolist()
            assert of_items[row].tolist() == scores[row][expected].tolist()


@pytest.mark.parametrize("has_memory", [True, False])
@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize("most_logits", [1 << 25, 100])
def test_with_every_item_as_negative_the_loss_is_the_full_softmax(monkeypatch, has_memory, horizon, most_logits):
    """The oracle: log-softmax over all scores, written out for two customers, one step and the next items of each."""
    chunks, checkpoint = [], losses.checkpoint

    def chunk(sum_of, *tensors, **asked):
        chunks.append(len(tensors[0]))
        return checkpoint(sum_of, *tensors, **asked)

    monkeypatch.setattr("clm_spark.models.transformer.losses.MOST_LOGITS", most_logits)
    monkeypatch.setattr("clm_spark.models.transformer.losses.checkpoint", chunk)
    model = made(repeat_memory=has_memory)
    items = torch.tensor([[3, 5, 3, 9, 4, 0], [6, 6, 8, 1, 2, 7]])
    candidates = torch.tensor([[3, 4, 5, 9, 0, 0], [1, 2, 6, 7, 8, 0]])
    places = torch.tensor([[0, 2, 0, 3, 1, 0], [2, 2, 4, 0, 1, 3]])
    is_wanted = torch.ones_like(items, dtype=torch.bool)
    if horizon > 1:
        is_wanted[0, 3] = False  # item 9 may come, and answers nothing
    loss = NextItemsLoss(model, horizon)(
        events=torch.stack([items, items % 3, items % 5, items % 7], dim=-1), candidates=candidates, places=places, positions=torch.tensor([[2], [2]]),
        is_asked=torch.tensor([[True], [True]]), is_wanted=is_wanted, negatives=torch.arange(1, NUM_ITEMS + 1),
        log_chance=torch.zeros(NUM_ITEMS),
    )  # fmt: skip
    before = [np.array([[item, item % 3, item % 5, item % 7] for item in items]) for items in ([3, 5, 3], [6, 6, 8])]
    shares = torch.log_softmax(score_all(model, before), dim=1)
    coming = {1: ([9], [1]), 2: ([4], [1, 2])}[horizon]
    expected = -sum(float(shares[row, [item - 1 for item in some]].mean()) for row, some in enumerate(coming))
    # Scores of 30 negatives and 6 own items, and, where these are looked up, the 6 places of each.
    assert chunks == ([1, 1] if most_logits == 100 and (has_memory or horizon > 1) else [])
    assert math.isclose(float(loss), expected, abs_tol=1e-5)
    loss.backward()
    assert float(model.item_vectors.grad.abs().sum()) > 0


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("in_cache", [1 << 20, 1])
def test_gradients_of_the_full_softmax_are_those_of_torch(monkeypatch, has_bias, in_cache):
    """The oracle: torch's cross-entropy over all scores at once, of two sequences of which one is shorter.

    A table of texts' vectors stands for an encoder that is trained along.
    """
    monkeypatch.setattr("clm_spark.models.transformer.losses.LOGITS_IN_CACHE", in_cache)
    torch.manual_seed(7)
    settings = DEBUG_SIZE.model_copy(update={"repeat_memory": False, "item_bias": has_bias, "dropout": 0.0})
    model = new_model(NUM_ITEMS, settings, kinds=KINDS, text_width=3)
    model.tuned_texts = torch.nn.Embedding(NUM_ITEMS + 1, 3)
    model.train()
    every = torch.arange(1, NUM_ITEMS + 1)
    items = torch.tensor([[3, 5, 3, 9, 4, 0], [6, 6, 8, 1, 2, 7]])
    events = torch.stack([items, items % 3, items % 5, items % 7], dim=-1)
    positions = torch.tensor([[0, 3, 0], [4, 1, 2]])
    is_asked = torch.tensor([[True, True, False], [True, True, True]])
    wanted = torch.tensor([5, 4, 7, 8, 1])

    def gradients(loss):
        model.zero_grad()
        (3 * loss).backward()
        return {name: weights.grad.clone() for name, weights in model.named_parameters() if weights.grad is not None}

    scores = model.tastes(model.after(events[:, :-1], positions)[is_asked], every)
    oracle = torch.nn.functional.cross_entropy(scores, wanted - 1, reduction="sum")
    loss = NextItemsLoss(model, 1)(
        events=events, candidates=torch.zeros(2, 6, dtype=torch.long), places=torch.zeros_like(items), positions=positions,
        is_asked=is_asked, is_wanted=items > 0, negatives=every, log_chance=torch.zeros(NUM_ITEMS),
    )  # fmt: skip
    torch.testing.assert_close(loss, oracle)
    expected, found = gradients(oracle), gradients(loss)
    assert found.keys() == expected.keys() >= {"items.weight", "tuned_texts.weight"}
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)


def test_what_stands_for_how_many_is_right_on_average():
    """The mean over many draws of the estimated sum in the softmax is the sum over all items."""
    counts = np.arange(NUM_ITEMS + 1)
    counts[3:7] = 0  # never taken
    for share, listed, left_out in (
        (0.0, None, []),
        (0.5, None, []),
        (1.0, None, [3, 4, 5, 6]),
        (0.0, [1, 2, 3, 6], [4, 5]),
        (0.5, [1, 2, 3, 6], [4, 5]),
    ):
        asked = DEBUG_SIZE.model_copy(update={"negatives": 12, "frequent_negatives": share})
        negatives = Negatives(counts, asked, None if listed is None else np.array(listed))
        random = np.random.default_rng(7)
        scores = np.random.default_rng(8).normal(size=NUM_ITEMS)
        possible = ~np.isin(np.arange(1, NUM_ITEMS + 1), left_out)
        sums = []
        for _ in range(4000):
            drawn, log_chance = negatives.draw(random)
            assert len(set(drawn.tolist())) == len(drawn)
            assert not set(drawn.tolist()) & set(left_out)
            sums.append(np.exp(scores[drawn - 1] - log_chance).sum())
        spread = np.std(sums) / len(sums) ** 0.5
        assert abs(np.mean(sums) - np.exp(scores[possible]).sum()) < 4 * spread, share


@pytest.mark.parametrize(("has_memory", "horizon"), [(True, 2), (False, 1)])
def test_the_sampled_loss_is_the_full_one_on_average(has_memory, horizon):
    """The mean of exp(loss) over draws: its sum over items is right on average, and what is wanted is the same in each."""
    model = made(repeat_memory=has_memory)
    items = torch.tensor([[3, 5, 3, 9, 4, 0]])
    asked_of = {
        "events": torch.stack([items, items % 3, items % 5, items % 7], dim=-1),
        "candidates": torch.tensor([[3, 4, 5, 9]]), "places": torch.tensor([[0, 2, 0, 3, 1, 0]]),
        "positions": torch.tensor([[2]]), "is_asked": torch.tensor([[True]]), "is_wanted": items > 0,
    }  # fmt: skip
    loss = NextItemsLoss(model, horizon)

    @torch.no_grad()
    def total(drawn, log_chance):
        return float(loss(**asked_of, negatives=torch.tensor(drawn), log_chance=torch.tensor(log_chance)).exp())

    every = np.arange(1, NUM_ITEMS + 1)
    expected = total(every, np.zeros(NUM_ITEMS, np.float32))
    for share in (0.0, 0.5, 1.0):
        settings = DEBUG_SIZE.model_copy(update={"negatives": 8, "frequent_negatives": share})
        negatives, random = Negatives(np.arange(NUM_ITEMS + 1), settings), np.random.default_rng(7)
        found = [total(*negatives.draw(random)) for _ in range(600)]
        spread = np.std(found) / len(found) ** 0.5
        assert abs(np.mean(found) - expected) < 4 * spread < 0.2 * expected, share


def test_hugging_face_opens_what_was_saved(model, tmp_path):
    model.config.vocabulary_version = 12
    save_model_files(model.to_files(), str(tmp_path))
    opened = AutoModel.from_pretrained(tmp_path)
    assert (type(opened), opened.config.vocabulary_version) == (NextItemModel, 12)
    assert (tmp_path / "model.safetensors").exists()
    asked = torch.tensor([[1, 2, 3]])
    assert torch.equal(opened.eval()(asked).last_hidden_state, model(asked).last_hidden_state)


@pytest.mark.parametrize("changes", [{}, {"positions": "rotary"}, {"repeat_memory": False, "item_bias": False}])
def test_nobody_sees_what_is_to_come(changes):
    model = made(**changes, layers=2)
    first, second = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 2, 9, 4]])

    def after(items):
        return model(items).last_hidden_state

    assert torch.allclose(after(first)[:, :2], after(second)[:, :2], atol=1e-6)
    assert not torch.allclose(after(first)[:, 2:], after(second)[:, 2:], atol=1e-3)
    one_way, other_way = torch.tensor([[1, 2, 3]]), torch.tensor([[2, 1, 3]])
    assert not torch.allclose(after(one_way)[:, 2], after(other_way)[:, 2], atol=1e-3), "the order counts"


def test_kinds_gaps_and_prices_count():
    items, more = torch.tensor([[1, 2, 3]]), torch.tensor([[0, 1, 2]])
    for changes, counts in (({"price_bands": True}, True), ({"time_gaps": False}, False)):
        model = made(**changes)
        plain = model(items).last_hidden_state
        assert not torch.allclose(model(items, kind_ids=more).last_hidden_state[:, 1:], plain[:, 1:], atol=1e-3)
        differs = not torch.allclose(model(items, gap_ids=more).last_hidden_state[:, 1:], plain[:, 1:], atol=1e-3)
        assert differs == counts, changes
        differs = not torch.allclose(model(items, band_ids=more).last_hidden_state[:, 1:], plain[:, 1:], atol=1e-3)
        assert differs == counts, changes


def test_a_new_item_begins_as_its_category_does():
    model = made(item_categories=True)
    categories = torch.arange(NUM_ITEMS + 1) % 3 + 1
    model.set_categories(categories)
    with torch.no_grad():
        model.categories.weight[2] = 5.0
    opened = model_from_files(model.to_files())
    assert torch.equal(score_all(opened, LONG), score_all(model, LONG))
    grown = opened.grow(NUM_ITEMS + 2)
    grown.set_categories(torch.cat([categories, torch.tensor([2, 3])]))
    assert torch.allclose(score_all(grown, LONG)[:, :NUM_ITEMS], score_all(model, LONG), atol=1e-5)
    average = model.items.weight[1:].mean(dim=0)
    assert torch.allclose(grown.item_vectors[NUM_ITEMS + 1], average + 5, atol=1e-5)
    assert torch.allclose(
        grown.vectors_of(torch.tensor([NUM_ITEMS + 2]))[0], average + model.categories.weight[3], atol=1e-5
    )


def test_the_place_of_the_next_item_is_that_among_all(model):
    assert [ends_with_a_new_item(sequence) for sequence in LONG] == [True, False, True]
    every = np.arange(1, NUM_ITEMS + 1)
    for hides_seen, listed in ((False, None), (True, None), (True, every[every % 4 > 0])):
        asked = [sequence for sequence in LONG if ends_with_a_new_item(sequence)] if hides_seen else LONG
        scores = score_all(model, [sequence[:-1] for sequence in asked])
        got = rank_of_next(model, asked, hides_seen=hides_seen, listed=listed)
        for row, sequence in enumerate(asked):
            hidden = set(sequence[:-1].tolist()) if hides_seen else set()
            others = [float(scores[row, i - 1]) for i in (every if listed is None else listed) if i not in hidden]
            assert got[row] == sum(score >= float(scores[row, sequence[-1] - 1]) for score in others)


def test_validation_scores_no_more_at_once_than_lists_do(model, monkeypatch):
    numbers, several = [], [np.array([n, n + 1, n + 2]) for n in range(1, 8)]
    expected = rank_of_next(model, several, hides_seen=False)

    def counted(*of):
        numbers.append(len(of[1]))
        return score_all(*of)

    monkeypatch.setattr("clm_spark.models.transformer.score.score_all", counted)
    monkeypatch.setattr("clm_spark.models.top_k.BLOCK_CELLS", 3 * NUM_ITEMS)
    assert rank_of_next(model, several, hides_seen=False).tolist() == expected.tolist()
    assert numbers == [3, 3, 1]


def test_lists_take_few_customers_at_once_however_few_items_there_are(model, monkeypatch):
    """Memory grows with customers x the longest of their sequences, not with items alone."""
    shapes, asked = [], [*LONG, np.array([8]), np.array([9, 1])]
    expected = {hide_seen: top_items(model, asked, 4, hide_seen=hide_seen) for hide_seen in (False, True)}

    def counted(_, sequences):
        shapes.append([len(sequence) for sequence in sequences])
        return score_all(model, sequences)

    monkeypatch.setattr("clm_spark.models.transformer.score.score_all", counted)
    monkeypatch.setattr("clm_spark.models.transformer.score.AT_ONCE", 2)
    for hide_seen, (items, scores) in expected.items():
        shapes.clear()
        found, found_scores = top_items(model, asked, 4, hide_seen=hide_seen)
        assert shapes == [[1, 2], [2, 3], [7]], "the short ones together"
        assert found.tolist() == items.tolist()
        np.testing.assert_allclose(found_scores, scores, atol=1e-5)


def test_a_model_that_scores_no_numbers_finds_nothing(model):
    with torch.no_grad():
        model.items.weight.fill_(torch.nan)
    for hides_seen in (False, True):
        assert rank_of_next(model, [np.array([1, 2, 3])], hides_seen=hides_seen).tolist() == [
            NUM_ITEMS - 2 * hides_seen
        ]
