"""The network over a customer's items, a decoder or an encoder, as a Hugging Face model, and a memory of what was taken."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils.logging import disable_progress_bar

from clm_spark import files
from clm_spark.errors import ContractError
from clm_spark.models.transformer.data import NUM_BANDS, NUM_CATEGORIES, NUM_GAPS
from clm_spark.models.transformer.settings import TransformerSettings

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
ADAPTER_FILE = "text_adapter.safetensors"  # of a text encoder that was trained along
ITEMS_FILE = "items.safetensors"  # `taken`, whether each item index had events in training, and the indices `listed`
INIT_SPREAD = 0.02
ROTARY_BASE = 10_000.0
# Two memories of a customer's items: one that hardly fades over a sequence, one that lasts some 50 items.
FADING_PER_ITEM = (-7.5, -4.0)  # logarithms
REPEAT_WEIGHT = -5.0  # logarithm: the weight of one earlier purchase, beside an item's share of all events
HARDLY_EVER = -20.0  # a log frequency below any real one: the padding item


class NextItemConfig(PretrainedConfig):  # type: ignore[misc]  # transformers has no types
    """What a `NextItemModel` is built from; `config.json` in its folder."""

    model_type = "clm-next-item"

    num_items: int = 1
    width: int = 64
    layers: int = 1
    heads: int = 2
    max_length: int = 256
    dropout: float = 0.3
    attention: str = "causal"
    positions: str = "learned"
    repeat_memory: bool = True
    item_bias: bool = True
    kinds: tuple[str, ...] | list[str] = ()  # of events, numbered from 1 on; none: a step does not know its kind
    sequence_kinds: tuple[str, ...] | list[str] = ()  # of the events it was trained on, also where they are of one kind
    num_categories: int = 0  # numbers of item categories; 0: an item knows no category
    text_width: int = 0  # numbers of a text's vector; 0: an item knows no text
    num_gaps: int = 0  # numbers of time gaps; 0: a step does not know how long the one before is ago
    num_bands: int = 0  # numbers of price bands; 0: a step does not know its price
    vocabulary_version: int | None = None  # of gold.item_vocabulary, which gave the indices


class Layer(nn.Module):
    """Attention and SwiGLU, each on normalised input and added to what came (pre-normalisation, Xiong et al. 2020)."""

    def __init__(self, config: NextItemConfig) -> None:
        super().__init__()
        width, inner = config.width, 4 * config.width
        self.heads, self.is_rotary = config.heads, config.positions == "rotary"
        self.before_attention, self.before_gates = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width, bias=False)
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, steps: Tensor, seen: Tensor | None) -> Tensor:
        """Customers x length x width to the same.

        A step sees those that are `seen` (customers x 1 x 1 x length); None: itself and what came before.
        """
        customers, length, width = steps.shape
        each = self.queries_keys_values(self.before_attention(steps))
        queries, keys, values = each.view(customers, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.is_rotary:
            queries, keys = _turned(queries), _turned(keys)
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen, is_causal=seen is None)
        steps = steps + self.dropout(self.attended(found.transpose(1, 2).reshape(customers, length, width)))
        normal = self.before_gates(steps)
        gated = functional.silu(self.gate(normal)) * self.up(normal)
        added: Tensor = steps + self.dropout(self.down(gated))
        return added


class NextItemModel(PreTrainedModel):  # type: ignore[misc]
    """What comes next, given the items so far.

    The score of item i after step t is log(exp(h_t . e_i + b_i) + sum over memories m of w_tm n_tmi): a decoder whose
    output vector h_t meets the item's own embedding e_i and bias b_i, mixed with n_tmi, how often the customer
    took i before, each time counting less the longer ago it was. The mixture is that of the pointer sentinel (Merity
    et al. 2016, arXiv:1609.07843), unnormalised; that repeats with decay carry most of a grocery basket is the finding
    of TIFU-KNN (Hu et al. 2020, arXiv:2006.00556). The weights w depend on h_t. Without `repeat_memory` the score is
    h_t . e_i + b_i. Layers as in eSASRec (Tikhonovich et al. 2025, arXiv:2508.06450), without its gates.

    With `attention` both_sides it is an encoder: h_t is the output vector of event t + 1, whose item, kind, gap and
    price are masked, and which sees all events (BERT4Rec, Sun et al. 2019, arXiv:1904.06690).
    """

    config: NextItemConfig
    config_class = NextItemConfig
    base_model_prefix = "next_item"
    main_input_name = "input_ids"
    _no_split_modules: ClassVar[list[str]] = ["Layer"]

    def __init__(self, config: NextItemConfig) -> None:
        super().__init__(config)
        self.items = nn.Embedding(config.num_items + 1, config.width, padding_idx=0)
        if config.num_categories:
            self.categories = nn.Embedding(config.num_categories + 1, config.width, padding_idx=0)
            self.register_buffer("category_of", torch.zeros(config.num_items + 1, dtype=torch.long))
        if config.text_width:
            self.of_text = nn.Linear(config.text_width, config.width, bias=False)
            self.register_buffer("texts", torch.zeros(config.num_items + 1, config.text_width, dtype=torch.float16))
        self.kept_vectors: Tensor | None = None
        self.tuned_texts: nn.Module | None = None  # gives the vectors of some items' texts while it is trained along
        if config.positions == "learned":
            self.places = nn.Embedding(config.max_length + self.sees_both_sides, config.width)
        if self.sees_both_sides:
            self.masked = nn.Parameter(torch.zeros(config.width))
        if config.kinds:
            self.kinds = nn.Embedding(len(config.kinds) + 1, config.width, padding_idx=0)
        if config.num_gaps:
            self.gaps = nn.Embedding(config.num_gaps + 1, config.width, padding_idx=0)
        if config.num_bands:
            self.bands = nn.Embedding(config.num_bands + 1, config.width, padding_idx=0)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.last = nn.LayerNorm(config.width)
        if config.item_bias:
            self.popularity = nn.Parameter(torch.zeros(config.num_items + 1))
        if config.repeat_memory:
            self.fading = nn.Parameter(torch.tensor(FADING_PER_ITEM))
            self.repeat_weight = nn.Linear(config.width, len(FADING_PER_ITEM))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INIT_SPREAD)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, NextItemModel) and module.sees_both_sides:
            nn.init.normal_(module.masked, std=INIT_SPREAD)
        if isinstance(module, NextItemModel) and module.config.repeat_memory:
            nn.init.zeros_(module.repeat_weight.weight)
            nn.init.constant_(module.repeat_weight.bias, REPEAT_WEIGHT)

    @property
    def num_items(self) -> int:
        """Items known; their indices are 1 to this."""
        return self.config.num_items

    @property
    def sees_both_sides(self) -> bool:
        """Whether what comes next is told as a masked item behind the last."""
        return bool(self.config.attention == "both_sides")

    @property
    def max_length(self) -> int:
        """Items of a sequence that are looked at, the last ones."""
        return self.config.max_length

    @property
    def item_vectors(self) -> Tensor:
        """Vectors by item index: its own, its category's and its text's; tied, they are input and output."""
        if self.kept_vectors is not None:
            return self.kept_vectors
        vectors: Tensor = self.items.weight
        if self.config.num_categories:
            vectors = vectors + self.categories(self.category_of)
        if self.config.text_width:
            vectors = vectors + self.of_text(self.texts.to(vectors))
        return vectors

    @torch.no_grad()
    def keep_item_vectors(self) -> None:
        """Work out the vectors of all items once: from now on the model is only asked."""
        self.kept_vectors = self.item_vectors.detach()

    def vectors_of(self, items: Tensor) -> Tensor:
        """Those of some items."""
        vectors: Tensor = self.items(items)
        if self.config.num_categories:
            vectors = vectors + self.categories(self.category_of[items])
        if not self.config.text_width:
            return vectors
        tuned = self.tuned_texts if self.training else None
        texts = self.texts[items] if tuned is None else tuned(items)
        of_texts: Tensor = self.of_text(texts.to(vectors))
        return vectors + of_texts

    def get_input_embeddings(self) -> nn.Module:
        """The items' embeddings."""
        return self.items

    def forward(
        self,
        input_ids: Tensor,
        kind_ids: Tensor | None = None,
        gap_ids: Tensor | None = None,
        band_ids: Tensor | None = None,
    ) -> BaseModelOutput:
        """Item indices, customers x length, oldest first and padded behind with 0, to `last_hidden_state`.

        `kind_ids`, `gap_ids` and `band_ids` are as large; None: unknown.
        """
        unknown = torch.zeros_like(input_ids)
        each = [input_ids, *(unknown if ids is None else ids for ids in (kind_ids, gap_ids, band_ids))]
        return BaseModelOutput(last_hidden_state=self.hidden(torch.stack(each, dim=-1)))

    def after(self, events: Tensor, positions: Tensor) -> Tensor:
        """Output vectors that tell what comes after each of the `positions`: customers x positions x width.

        An encoder masks the events that stand there, all at once: there must be one behind each position, if only padding.
        """
        is_masked = None
        if self.sees_both_sides:
            positions = positions + 1
            is_masked = torch.zeros_like(events[..., 0], dtype=torch.bool).scatter_(1, positions, value=True)
        hidden = self.hidden(events, is_masked)
        return hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[2]))

    def hidden(self, events: Tensor, is_masked: Tensor | None = None) -> Tensor:
        """Output vectors of every event: customers x length x 4 to customers x length x width.

        Padding stands behind, so no step of a causal model sees it; those of an encoder do not look at it, but at what
        `is_masked` (customers x length). With a bias of items they are divided by the root of the width, as in
        attention: undivided, the first steps of Adam move an item's score so far that popularity and memory have to be
        learnt anew.
        """
        items, kinds, gaps, bands = events.unbind(dim=-1)
        steps = self.vectors_of(items)
        if self.config.kinds:
            steps = steps + self.kinds(kinds)
        if self.config.num_gaps:
            steps = steps + self.gaps(gaps)
        if self.config.num_bands:
            steps = steps + self.bands(bands)
        seen = None
        if self.sees_both_sides:
            is_there = items > 0
            if is_masked is not None:
                steps, is_there = torch.where(is_masked[..., None], self.masked, steps), is_there | is_masked
            seen = is_there[:, None, None]
        steps = steps * self.config.width**0.5
        if self.config.positions == "learned":
            steps = steps + self.places.weight[: items.shape[1]]
        steps = self.dropout(steps)
        for layer in self.layers:
            steps = layer(steps, seen)
        hidden: Tensor = self.last(steps)
        return hidden / self.config.width**0.5 if self.config.item_bias else hidden

    def tastes(self, hidden: Tensor, items: Tensor | None = None) -> Tensor:
        """h . e + b of all items (... x items), or of `items`, one row of them for all or one for each customer."""
        vectors = self.item_vectors if items is None else self.vectors_of(items)
        tastes = hidden @ vectors.transpose(-1, -2)
        if not self.config.item_bias:
            return tastes
        bias = self.popularity if items is None else self.popularity[items]
        return tastes + (bias[..., None, :] if bias.dim() > 1 else bias)

    def fade(self, steps_ago: Tensor) -> list[Tensor]:
        """What an item so many steps ago counts, per memory; nothing when it is still to come."""
        if not self.config.repeat_memory:
            return []
        past = steps_ago >= 0
        return [torch.exp(-speed.exp() * steps_ago.clamp(min=0)) * past for speed in self.fading]

    def mix(self, taste: Tensor, hidden: Tensor, repeats: list[Tensor]) -> Tensor:
        """Scores from `taste` (h . e + b, ... x items), the output vectors and the faded counts of each memory."""
        if not self.config.repeat_memory:
            return taste.float()
        weights = self.repeat_weight(hidden).float().exp()
        remembered = sum(weights[..., m, None] * count for m, count in enumerate(repeats))
        return torch.log(taste.float().clamp(max=60).exp() + remembered + 1e-30)

    @torch.no_grad()
    def set_popularity(self, counts: Tensor, of: Tensor | None = None) -> None:
        """Start the bias of all items, or of those where `of` is true, at their log share of `counts`; both by item index."""
        if not self.config.item_bias:
            return
        counts = counts.float() + 0.5
        shares = (counts / counts[1:].sum()).log().to(self.popularity)
        self.popularity.copy_(shares if of is None else torch.where(of, shares, self.popularity))
        self.popularity[0] = HARDLY_EVER

    @torch.no_grad()
    def set_categories(self, categories: Tensor) -> None:
        """Say which category each item index has, from 1 on; 0: none. Of no effect where items know none."""
        if self.config.num_categories:
            self.category_of.copy_(categories)

    @torch.no_grad()
    def set_texts(self, texts: Tensor) -> None:
        """Give the vector of each item's text, by item index. Of no effect where items know none."""
        if self.config.text_width:
            self.texts.copy_(texts)

    @torch.no_grad()
    def grow(self, num_items: int) -> "NextItemModel":
        """The same model over a larger vocabulary: old items keep their vectors and scores, new ones start average.

        Once categories and texts are set, a new item has the vectors of its own besides.
        """
        if num_items < self.num_items:
            raise ContractError(
                f"the model knows {self.num_items} items and would know {num_items}: expected as many or more, for an index "
                "once given stays; keep those of items that are listed no more"
            )
        known = self.state_dict()
        grown = NextItemModel(NextItemConfig.from_dict({**self.config.to_dict(), "num_items": num_items}))
        vectors = self.items.weight[1:].mean(dim=0).repeat(num_items + 1, 1)
        vectors[: self.num_items + 1] = self.items.weight
        sized = {"items.weight": vectors}
        if self.config.num_categories:
            category_of = torch.zeros_like(grown.category_of)
            category_of[: self.num_items + 1] = self.category_of
            sized["category_of"] = category_of
        if self.config.text_width:
            sized["texts"] = torch.zeros_like(grown.texts)
            sized["texts"][: self.num_items + 1] = self.texts
        if self.config.item_bias:
            popularity = self.popularity[1:].min().repeat(num_items + 1)
            popularity[: self.num_items + 1] = self.popularity
            sized["popularity"] = popularity
        grown.load_state_dict({**known, **sized})
        grown.train(self.training)
        return grown

    def to_files(self) -> dict[str, bytes]:
        """The files that `from_pretrained` opens, by name: small enough to be sent to ranks and workers as they are.

        Not by `save_pretrained`, which writes nothing on other ranks than the first.
        """
        self.config.architectures = [type(self).__name__]
        weights = {name: values.detach().cpu().contiguous() for name, values in self.state_dict().items()}
        return {
            CONFIG_FILE: self.config.to_json_string().encode(),
            WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
        }


disable_progress_bar()  # a second's work, of which transformers would tell on standard error
AutoConfig.register(NextItemConfig.model_type, NextItemConfig)
AutoModel.register(NextItemConfig, NextItemModel)


def new_model(
    num_items: int,
    settings: TransformerSettings,
    *,
    kinds: Sequence[str] = (),
    text_width: int = 0,
) -> NextItemModel:
    """An untrained model for item indices 1 to `num_items` and events of `kinds`; seed torch before."""
    built_from = (
        "width", "layers", "heads", "max_length", "dropout", "attention", "positions", "repeat_memory", "item_bias",
    )  # fmt: skip
    asked = {name: getattr(settings, name) for name in built_from}
    asked["kinds"] = list(kinds) if len(kinds) > 1 else []  # one kind says nothing
    asked["text_width"] = text_width
    asked["num_gaps"] = NUM_GAPS if settings.time_gaps else 0
    asked["num_bands"] = NUM_BANDS if settings.price_bands else 0
    asked["num_categories"] = NUM_CATEGORIES if settings.item_categories else 0
    asked["sequence_kinds"] = sorted(kinds)
    return NextItemModel(NextItemConfig(num_items=num_items, **asked))


def model_from_files(content: Mapping[str, bytes]) -> NextItemModel:
    """The model of `to_files`, ready to score."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            (Path(folder) / name).write_bytes(content[name])
        model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(model, NextItemModel)
    model.eval()
    return model


def save_model_files(content: Mapping[str, bytes], path: str) -> None:
    """Write the files to a folder on any store, in the place of what is there."""
    files.remove(path)
    for name, file in content.items():
        files.write_bytes(f"{path}/{name}", file)


def read_model_files(path: str) -> dict[str, bytes]:
    """The files that `save_model_files` wrote. Raises `ContractError` where there are none, or of an earlier version."""
    try:
        content = {name: files.read_bytes(f"{path}/{name}") for name in (CONFIG_FILE, WEIGHTS_FILE)}
    except FileNotFoundError:
        raise ContractError(
            f"no trained model at {path}: expected {CONFIG_FILE} and {WEIGHTS_FILE}; train it first"
        ) from None
    for name in (ADAPTER_FILE, ITEMS_FILE):
        if files.exists(f"{path}/{name}"):
            content[name] = files.read_bytes(f"{path}/{name}")
    kind = json.loads(content[CONFIG_FILE]).get("model_type")
    if kind != NextItemConfig.model_type:
        raise ContractError(
            f"the transformer was saved by an earlier version, as {kind}: expected {NextItemConfig.model_type}; "
            "train it again (clm run train_recommenders)"
        )
    return content


def load_model(path: str) -> NextItemModel:
    """The model in a folder, ready to score. Raises as `read_model_files` does."""
    return model_from_files(read_model_files(path))


def _turned(heads: Tensor) -> Tensor:
    """Queries or keys (... x length x head) turned by their place (RoFormer, Su et al. 2021, arXiv:2104.09864)."""
    length, size = heads.shape[-2:]
    speeds = ROTARY_BASE ** (-torch.arange(0, size, 2, device=heads.device) / size)
    angles = torch.arange(length, device=heads.device)[:, None] * speeds
    cos, sin = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
    left, right = heads.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)
