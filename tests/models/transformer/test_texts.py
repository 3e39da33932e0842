import shutil

import numpy as np
import pytest
import torch
import torch.distributed as dist
from pydantic import ValidationError
from sequences import DEBUG_SIZE, MONDAY, NUM_ITEMS, TUESDAY, write_sequences
from test_train import killed_after
from tiny_encoder import save_tiny_encoder
from tokenizers.processors import TemplateProcessing

from clm_spark.errors import SettingsError
from clm_spark.models.transformer.launch import TorchRanks
from clm_spark.models.transformer.network import ADAPTER_FILE, model_from_files, read_model_files, save_model_files
from clm_spark.models.transformer.ranks import OneRank
from clm_spark.models.transformer.score import score_all
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.models.transformer.task import ItemFacts, TrainingTask
from clm_spark.models.transformer.text_encoder import Encoder, TunedTexts
from clm_spark.models.transformer.texts import frozen_vectors, tokens_of
from clm_spark.models.transformer.train import train

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def noisy_encoder(tmp_path_factory):
    return save_tiny_encoder(tmp_path_factory.mktemp("noisy"), dropout=0.3)


def settings_of(encoder, **changes):
    asked = {"item_text": ("title",), "text_encoder": encoder, "repeat_memory": False, "item_bias": False, **changes}
    return DEBUG_SIZE.model_copy(update=asked)


def colour_of(item):
    return COLOURS[item % 3]


def of_one_colour(num_customers, *, num_items=NUM_ITEMS, seed=7):
    """Every customer takes to items of one colour."""
    random = np.random.default_rng(seed)
    items = {colour: [n for n in range(1, num_items + 1) if colour_of(n) == colour] for colour in COLOURS}
    return [random.choice(items[COLOURS[n % 3]], 8).tolist() for n in range(num_customers)]


def facts_of(spark, settings, *, num_items):
    titles = spark.createDataFrame(
        [(n, f"{colour_of(n)} shoe") for n in range(1, num_items + 1)], "item_index int, text string"
    )
    if settings.text_tuning == "lora":
        return ItemFacts(tokens=tokens_of(titles, settings.text_encoder, most_tokens=64, num_items=num_items))
    return ItemFacts(texts=frozen_vectors(titles, settings.text_encoder, most_tokens=64, num_items=num_items))


def task_of(table, settings, facts, **changes):
    plain = {
        "location": str(table), "version": 0, "as_of": MONDAY, "num_items": NUM_ITEMS + 3, "settings": settings,
        "epochs": 12, "items": facts,
    }  # fmt: skip
    return TrainingTask(**{**plain, **changes})


@pytest.mark.parametrize("changes", [{}, {"text_tuning": "lora", "text_lora_rank": 2}])
def test_items_that_nobody_took_are_found_by_their_texts(spark, encoder, tmp_path, changes):
    """Three new items, one of each colour: everybody's best of them is the one of the own colour."""
    write_sequences(tmp_path / "sequences", of_one_colour(120))
    settings = settings_of(encoder, **changes)
    facts = facts_of(spark, settings, num_items=NUM_ITEMS + 3)
    result = train(task_of(tmp_path / "sequences", settings, facts), OneRank())
    save_model_files(result.files, f"file://{tmp_path}/model")
    model = model_from_files(read_model_files(f"file://{tmp_path}/model"))
    assert model.config.text_width == 8
    unseen = of_one_colour(90, seed=8)
    new = score_all(model, [np.array(items) for items in unseen])[:, NUM_ITEMS:]
    best = [colour_of(NUM_ITEMS + 1 + place) for place in new.argmax(dim=1).tolist()]
    assert np.mean([colour == COLOURS[n % 3] for n, colour in enumerate(best)]) > 0.95
    assert (ADAPTER_FILE in result.files) == bool(changes)
    if changes:
        frozen = Encoder(encoder).vectors(torch.from_numpy(facts.tokens))
        assert not torch.allclose(model.texts.float(), frozen, atol=0.01), "the encoder has learned"

        # The adapters are gone on from, over a larger vocabulary.
        write_sequences(tmp_path / "sequences", of_one_colour(120, num_items=NUM_ITEMS + 3), TUESDAY)
        more = facts_of(spark, settings, num_items=NUM_ITEMS + 6)
        onward = {"version": 1, "as_of": TUESDAY, "num_items": NUM_ITEMS + 6, "start_from": result.files, "epochs": 1}
        again = train(task_of(tmp_path / "sequences", settings, more, **onward), OneRank())
        assert again.losses[0] < 0.85 * result.losses[0]
        kept = TunedTexts(encoder, more.tokens, rank=2, adapter=result.files[ADAPTER_FILE]).all_vectors()
        assert torch.allclose(kept[: NUM_ITEMS + 4], model.texts.float(), atol=2e-3), "as they were saved"
        assert model_from_files(again.files).num_items == NUM_ITEMS + 6


def test_a_training_with_adapters_goes_on_after_a_kill(spark, noisy_encoder, tmp_path):
    write_sequences(tmp_path / "sequences", of_one_colour(60))
    settings = settings_of(noisy_encoder, text_tuning="lora", text_lora_rank=2, patience=4, validation_share=0.5)
    asked = task_of(tmp_path / "sequences", settings, facts_of(spark, settings, num_items=NUM_ITEMS + 3), epochs=3)
    undisturbed = train(asked, OneRank())
    kept = task_of(tmp_path / "sequences", settings, asked.items, epochs=3, checkpoints=str(tmp_path / "checkpoints"))
    with pytest.MonkeyPatch.context() as patched:
        killed_after(2, patched)
        with pytest.raises(KeyboardInterrupt):
            train(kept, OneRank())
    resumed = train(kept, OneRank())
    assert (resumed.weights_sha256, resumed.ndcgs) == (undisturbed.weights_sha256, undisturbed.ndcgs)
    model, tokens = model_from_files(resumed.files), asked.items.tokens
    tuned = TunedTexts(noisy_encoder, tokens, rank=2, adapter=resumed.files[ADAPTER_FILE])
    assert torch.allclose(model.texts.float(), tuned.all_vectors(), atol=2e-3), "made without dropout"


@pytest.mark.parametrize(
    "changes", [{"text_tuning": "lora", "text_lora_rank": 2}, {"attention": "both_sides"}, {"repeat_memory": True}]
)
def test_every_weight_takes_part_where_torch_averages_gradients(spark, encoder, tmp_path, changes):
    """DistributedDataParallel refuses weights without a gradient: one rank of it here, as TorchDistributor starts them."""
    write_sequences(tmp_path / "sequences", of_one_colour(60))
    settings = settings_of(encoder, **changes)
    task = task_of(tmp_path / "sequences", settings, facts_of(spark, settings, num_items=NUM_ITEMS + 3), epochs=2)
    alone = train(task, OneRank())
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        averaged = train(task, TorchRanks())
    finally:
        dist.destroy_process_group()
    assert np.allclose(averaged.losses, alone.losses, rtol=1e-5)


def test_layers_that_are_gone_on_from_by_adapters_change_by_a_thin_matrix(tmp_path):
    write_sequences(tmp_path / "sequences", of_one_colour(60))
    plain = {"item_text": (), "text_encoder": None}
    first = train(task_of(tmp_path / "sequences", settings_of(None, **plain), ItemFacts(), epochs=2), OneRank())
    thin = settings_of(None, **plain, lora_rank=1)
    again = train(task_of(tmp_path / "sequences", thin, ItemFacts(), epochs=2, start_from=first.files), OneRank())
    before, after = (model_from_files(result.files) for result in (first, again))
    assert before.state_dict().keys() == after.state_dict().keys(), "without adapters"
    assert again.losses[-1] < first.losses[-1]
    for name, weights in before.state_dict().items():
        change = after.state_dict()[name] - weights
        if name.startswith("layers") and weights.dim() == 2:
            sizes = torch.linalg.svdvals(change)
            assert sizes[0] > 1e-4, name
            assert sizes[1] < 1e-5, name
    assert (after.items.weight - before.items.weight).abs().max() > 1e-4, "vectors of items are trained as always"


def test_no_text_is_longer_than_the_network_takes(encoder):
    """The tiny one has 16 places, and its tokenizer knows no limit until it is given one."""
    model, longest = Encoder(encoder), ["red " * 40]
    assert model.tokens(longest, 64).tolist() == [[3] * 16]
    assert model.vectors(model.tokens(longest, 64)).shape == (1, 8)
    model.tokenizer.model_max_length = 5
    assert model.tokens(longest, 64).tolist() == [[3] * 5]
    assert model.tokens(longest, 2).tolist() == [[3] * 2]
    assert model.tokens([" ", ""], 2).tolist() == [[0], [0]], "of blank texts none, and still a text each"
    assert model.vectors(model.tokens([" "], 2)).tolist() == [[0.0] * 8]
    # One that marks beginning and end would not cut at all where there is room for one token.
    marks = TemplateProcessing(single="[UNK] $A [UNK]", special_tokens=[("[UNK]", 1)])
    model.tokenizer.backend_tokenizer.post_processor = marks
    assert model.tokens(longest, 1).shape == (1, 3)


def test_an_encoder_that_is_cut_off_is_named(encoder, tmp_path):
    shutil.copytree(encoder, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(SettingsError, match=r"cut cannot be opened on this machine: Safetensor.*; give a folder that"):
        Encoder(str(tmp_path / "cut"))


def test_a_missing_encoder_is_named_before_workers_look_for_it(spark):
    texts = spark.createDataFrame([(1, "red shoe")], "item_index int, text string")
    with pytest.raises(SettingsError, match=r"^text_encoder=/nowhere cannot be opened on this machine: OSErr"):
        frozen_vectors(texts, "/nowhere", most_tokens=2, num_items=1)


def test_texts_as_vectors(spark, encoder):
    texts = spark.createDataFrame(
        [(1, "red shoe"), (3, "blue"), (4, "red shoe unheard of")], "item_index int, text string"
    )
    found = frozen_vectors(texts, encoder, most_tokens=2, num_items=5)
    assert found.shape == (6, 8)
    assert np.allclose(np.linalg.norm(found.astype(float), axis=1), [0, 1, 0, 1, 1, 0], atol=1e-3)
    assert np.array_equal(found[1], found[4]), "two tokens are looked at"
    tokens = tokens_of(texts, encoder, most_tokens=2, num_items=5)
    assert tokens.tolist() == [[0, 0], [3, 6], [0, 0], [5, 0], [3, 6], [0, 0]], "the tokenizer's number plus one"
    assert np.allclose(Encoder(encoder).vectors(torch.from_numpy(tokens)).numpy(), found, atol=1e-3)
    alone = Encoder(encoder).vectors(torch.from_numpy(tokens[3:4, :1])).numpy()
    assert np.allclose(alone, found[3:4], atol=1e-3), "padding does not matter"

    with pytest.raises(
        SettingsError, match=r"text_encoder=/nowhere cannot be opened on this machine: .*every worker sees"
    ):
        Encoder("/nowhere")
    with pytest.raises(ValidationError, match="names no encoder: give the folder"):
        TransformerSettings(item_text=("category",))
    for without in ({"text_encoder": encoder}, {"text_tuning": "lora"}):
        with pytest.raises(
            ValidationError, match="item_text names none: name some, such as category, or leave them out"
        ):
            TransformerSettings(**without)
