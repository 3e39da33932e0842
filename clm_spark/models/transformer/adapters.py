"""LoRA (Hu et al. 2021, arXiv:2106.09685): matrices that are trained by the product of two thin ones beside them, by peft."""

from collections.abc import Mapping

import peft
import torch
from torch import Tensor, nn

MATRICES = ["queries_keys_values", "attended", "gate", "up", "down"]
BESIDE = "base_layer"  # what peft calls the matrix itself


def add_to_layers(model: nn.Module, rank: int) -> None:
    """From now on the layers' matrices stay as they are and the adapters beside them are trained; all else is, too."""
    peft.LoraModel(model, peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=MATRICES), "default")
    for name, weights in model.named_parameters():
        weights.requires_grad = BESIDE not in name


def merge_into_layers(model: nn.Module) -> None:
    """Add what the adapters learned to the matrices, and take them away."""
    for module in list(model.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, peft.tuners.lora.LoraLayer):
                part.merge()
                setattr(module, name, part.get_base_layer())
    for weights in model.parameters():
        weights.requires_grad = True


def add_to_encoder(encoder: nn.Module, rank: int) -> None:
    """Adapters beside all matrices of a text encoder, of which nothing else is trained."""
    peft.LoraModel(encoder, peft.LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear"), "default")


def adapter_weights(encoder: nn.Module) -> dict[str, Tensor]:
    """Those of the adapters alone."""
    return {name: weights.cpu().contiguous() for name, weights in encoder.state_dict().items() if ".lora_" in name}


@torch.no_grad()
def set_adapter_weights(encoder: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """As `adapter_weights` gave them. Raises `KeyError` where they are another encoder's."""
    own = dict(encoder.named_parameters())
    for name, values in weights.items():
        own[name].copy_(values)
