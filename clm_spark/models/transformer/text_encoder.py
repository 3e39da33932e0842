"""Text encoders of Hugging Face: as they are, or tuned along with the network by adapters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from clm_spark.errors import SettingsError, in_a_line
from clm_spark.models.transformer.adapters import adapter_weights, add_to_encoder, set_adapter_weights

AT_ONCE = 64  # texts


class Encoder(nn.Module):
    """A tokenizer and a network of Hugging Face, from a local folder or the hub; a text is the mean of its tokens."""

    def __init__(self, name: str) -> None:
        super().__init__()
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name)
            self.network: Any = AutoModel.from_pretrained(name, dtype=torch.float32)
        except Exception as error:  # each format of weights and of tokenizers raises its own
            raise SettingsError(
                f"text_encoder={name} cannot be opened on this machine: {in_a_line(error)}; give a folder that "
                "every worker sees, with a model and its tokenizer, or a name on the hub"
            ) from error
        if self.network.config.is_encoder_decoder or self.tokenizer.pad_token is None:
            raise SettingsError(
                f"text_encoder={name} is no encoder of texts side by side: expected a model without a decoder "
                "and a tokenizer with a padding token"
            )
        if getattr(self.network, "pooler", None) is not None:
            self.network.pooler = None  # the mean of the tokens is taken: it would get no gradient
        self.eval()

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.network.config.hidden_size)

    def tokens(self, texts: Sequence[str], most: int) -> Tensor:
        """Texts x their longest, padded with 0; a token's number is one more than the tokenizer's.

        Of each text the first `most` tokens, or as many as the tokenizer and the network take.
        """
        if not texts:
            return torch.zeros((0, 1), dtype=torch.int32)
        limits = (most, self.tokenizer.model_max_length, getattr(self.network.config, "max_position_embeddings", None))
        most = min(limit for limit in limits if limit and limit > 0)  # -1 or nothing: a network without a limit
        # With no room for a token beside those that mark beginning and end, tokenizers do not cut at all.
        most = max(most, self.tokenizer.num_special_tokens_to_add() + 1)
        found = self.tokenizer(
            list(texts), truncation=True, max_length=most, padding=True, padding_side="right", return_tensors="pt"
        )
        numbers: Tensor = (found["input_ids"] + 1) * found["attention_mask"]
        if numbers.shape[1] == 0:  # blank texts, and a tokenizer that marks no beginning
            numbers = numbers.new_zeros((len(texts), 1))
        return numbers.to(torch.int32)

    @torch.no_grad()
    def vectors(self, tokens: Tensor) -> Tensor:
        """Texts x width, a few texts at a time, as they are asked: without dropout."""
        was_training = self.training
        self.eval()
        parts = [self(part) for part in torch.split(tokens, AT_ONCE)]
        self.train(was_training)
        return torch.cat(parts).cpu() if parts else torch.zeros((0, self.width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Of each text the mean of its tokens' vectors, of length 1; 0 without a token."""
        is_token = tokens > 0
        seen = is_token.clone()
        seen[:, 0] = True  # a text of no token must see something
        ids = torch.where(is_token, tokens - 1, 0).long()
        found = self.network(input_ids=ids, attention_mask=seen.long()).last_hidden_state
        count = is_token.sum(dim=1, keepdim=True)
        mean = (found * is_token[..., None]).sum(dim=1) / count.clamp(min=1)
        return functional.normalize(mean, dim=1)


class TunedTexts(nn.Module):
    """The texts of all items by an encoder whose adapters are trained along with the network."""

    def __init__(self, name: str, tokens: NDArray[np.int32], *, rank: int, adapter: bytes | None = None) -> None:
        super().__init__()
        self.encoder = Encoder(name)
        add_to_encoder(self.encoder.network, rank)
        if adapter is not None:
            set_adapter_weights(self.encoder.network, load(adapter))
        self.tokens: Tensor
        self.register_buffer("tokens", torch.from_numpy(tokens.astype(np.int32)), persistent=False)

    def forward(self, items: Tensor) -> Tensor:
        """The vectors of some items (... x width), each of them encoded once."""
        distinct, places = torch.unique(items, return_inverse=True)
        tokens = self.tokens[distinct]
        longest = max(1, int((tokens > 0).sum(dim=1).max()))
        return torch.cat([self.encoder(part) for part in torch.split(tokens[:, :longest], AT_ONCE)])[places]

    def all_vectors(self) -> Tensor:
        """Those of every item."""
        return self.encoder.vectors(self.tokens)

    def to_file(self) -> bytes:
        """The adapters, for a later fine-tuning."""
        return save(adapter_weights(self.encoder.network))
