"""The network: a Hugging Face causal decoder over items, and a memory of what the customer took before."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from clm_spark import files
from clm_spark.errors import ContractError
from clm_spark.models.transformer.settings import TransformerSettings

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
# Two memories of a customer's items: one that hardly fades over a sequence, one that lasts some 50 items.
FADING_PER_ITEM = (-7.5, -4.0)  # logarithms
REPEAT_WEIGHT = -5.0  # logarithm: the weight of one earlier purchase, beside an item's share of all events
HARDLY_EVER = -20.0  # a log frequency below any real one: the padding item


class NextItemModel(nn.Module):
    """What comes next, given the items so far.

    The score of item i after step t is log(exp(h_t . e_i + b_i) + sum over memories m of w_tm n_tmi): a decoder whose
    output vector h_t meets the item's own embedding e_i and popularity b_i, mixed with n_tmi, how often the customer
    took i before, each time counting less the longer ago it was. The mixture is that of the pointer sentinel (Merity
    et al. 2016, arXiv:1609.07843), unnormalised; that repeats with decay carry most of a grocery basket is the finding
    of TIFU-KNN (Hu et al. 2020, arXiv:2006.00556). The weights w depend on h_t.
    """

    def __init__(self, decoder: GPT2Config) -> None:
        super().__init__()
        self.decoder = GPT2Model(decoder)
        num_memories = len(FADING_PER_ITEM)
        self.popularity = nn.Parameter(torch.zeros(decoder.vocab_size))
        self.fading = nn.Parameter(torch.tensor(FADING_PER_ITEM))
        self.repeat_weight = nn.Linear(decoder.n_embd, num_memories)
        nn.init.zeros_(self.repeat_weight.weight)
        nn.init.constant_(self.repeat_weight.bias, REPEAT_WEIGHT)

    @property
    def num_items(self) -> int:
        """Items known; their indices are 1 to this."""
        return int(self.decoder.config.vocab_size) - 1

    @property
    def max_length(self) -> int:
        """Items of a sequence that are looked at, the last ones."""
        return int(self.decoder.config.n_positions)

    @property
    def item_vectors(self) -> Tensor:
        """Embeddings by item index; tied, they are input and output."""
        weight: Tensor = self.decoder.wte.weight
        return weight

    def hidden(self, items: Tensor) -> Tensor:
        """Output vectors after every step: customers x length x width. Padding stands behind, so nothing sees it.

        They are divided by the root of the width, as in attention: undivided, the first steps of Adam move an item's
        score so far that popularity and memory have to be learnt anew.
        """
        output: Tensor = self.decoder(input_ids=items, use_cache=False).last_hidden_state
        hidden: Tensor = output / output.shape[-1] ** 0.5
        return hidden

    def fade(self, steps_ago: Tensor) -> list[Tensor]:
        """What an item so many steps ago counts, per memory; nothing when it is still to come."""
        past = steps_ago >= 0
        return [torch.exp(-speed.exp() * steps_ago.clamp(min=0)) * past for speed in self.fading]

    def mix(self, taste: Tensor, hidden: Tensor, repeats: list[Tensor]) -> Tensor:
        """Scores from `taste` (h . e + b, ... x items), the output vectors and the faded counts of each memory."""
        weights = self.repeat_weight(hidden).float().exp()
        remembered = sum(weights[..., m, None] * count for m, count in enumerate(repeats))
        return torch.log(taste.float().clamp(max=60).exp() + remembered + 1e-30)

    @torch.no_grad()
    def set_popularity(self, counts: Tensor, *, first: int = 1) -> None:
        """Start the popularity of items from index `first` on at their log share of `counts` (by item index)."""
        counts = counts.float() + 0.5
        shares = (counts / counts[1:].sum()).log()
        self.popularity[first:] = shares[first:].to(self.popularity)
        self.popularity[0] = HARDLY_EVER

    @torch.no_grad()
    def grow(self, num_items: int) -> "NextItemModel":
        """The same model over a larger vocabulary: old items keep their vectors and scores, new ones start average."""
        if num_items < self.num_items:
            raise ContractError(
                f"the model knows {self.num_items} items and the vocabulary has {num_items}: an index once given "
                "stays, so a vocabulary only grows; train from scratch, without `start_from`"
            )
        known = self.state_dict()
        config = GPT2Config.from_dict({**self.decoder.config.to_dict(), "vocab_size": num_items + 1})
        grown = NextItemModel(config)
        vectors, popularity = grown.item_vectors, grown.popularity
        vectors[:] = self.item_vectors[1:].mean(dim=0)
        popularity[:] = self.popularity[1:].min()
        vectors[: self.num_items + 1] = self.item_vectors
        popularity[: self.num_items + 1] = self.popularity
        sized = {"decoder.wte.weight": vectors.clone(), "popularity": popularity.clone()}
        grown.load_state_dict({**known, **sized})
        return grown.train(self.training)

    def to_files(self) -> dict[str, bytes]:
        """`config.json` and `model.safetensors`: small enough to be sent to ranks and workers as they are."""
        config = json.dumps(_plain_config(self.decoder.config), indent=2, sort_keys=True)
        weights = {name: weight.contiguous().cpu() for name, weight in self.state_dict().items()}
        return {CONFIG_FILE: config.encode(), WEIGHTS_FILE: save(weights)}


def new_model(num_items: int, settings: TransformerSettings) -> NextItemModel:
    """An untrained model for item indices 1 to `num_items`; seed torch before."""
    return NextItemModel(
        GPT2Config(
            vocab_size=num_items + 1,
            n_embd=settings.width,
            n_layer=settings.layers,
            n_head=settings.heads,
            n_positions=settings.max_length,
            resid_pdrop=settings.dropout,
            embd_pdrop=settings.dropout,
            attn_pdrop=0.0,  # with it, torch leaves its fused attention, for nothing gained here
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def model_from_files(content: Mapping[str, bytes]) -> NextItemModel:
    """The model of `to_files`, ready to score."""
    model = NextItemModel(GPT2Config.from_dict(json.loads(content[CONFIG_FILE])))
    model.load_state_dict(load(content[WEIGHTS_FILE]))
    return model.eval()


def save_model_files(content: Mapping[str, bytes], path: str) -> None:
    """Write the files to a folder on any store, in the place of what is there."""
    files.remove(path)
    for name, file in content.items():
        files.write_bytes(f"{path}/{name}", file)


def read_model_files(path: str) -> dict[str, bytes]:
    """The files that `save_model_files` wrote. Raises `ContractError` where there are none."""
    try:
        return {name: files.read_bytes(f"{path}/{name}") for name in (CONFIG_FILE, WEIGHTS_FILE)}
    except FileNotFoundError:
        raise ContractError(
            f"no trained model at {path}: expected {CONFIG_FILE} and {WEIGHTS_FILE}; train it first"
        ) from None


def load_model(path: str) -> NextItemModel:
    """The model in a folder, ready to score. Raises as `read_model_files` does."""
    return model_from_files(read_model_files(path))


def _plain_config(config: GPT2Config) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return plain
