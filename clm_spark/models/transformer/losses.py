"""What training minimises: softmax over all items, or over each customer's own and negatives drawn for the batch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from clm_spark.models.transformer.network import NextItemModel

NEVER = -1e9  # a logit that no softmax sees
MOST_LOGITS = 1 << 25  # of one chunk: 128 MiB of 4 bytes each
LOGITS_IN_CACHE = 1 << 20  # 4 MiB: gone over several times where they are


class NextItemsLoss(nn.Module):
    """The summed cross-entropy between a model's scores and the wanted of the next `horizon` items, each with the same share.

    The tensors are those of a `Batch` of `batches.py`; `negatives` are different item indices and `log_chance` is the
    logarithm of the chance with which each was drawn. The sum over all items in the softmax is estimated in two strata:
    the customer's own items are counted whole (they are the hard negatives: which of the usual things comes next), all
    others through the negatives, each of which stands for 1 / chance of them. That is the log-Q correction (Bengio and
    Senecal 2008) with the targets left uncorrected, for they are there for certain and not by chance (Khrylchenko et
    al. 2025, arXiv:2507.09331).

    Customers are taken a few at a time where the logits of all, and the places of their items, would be more than `MOST_LOGITS`; those of one chunk
    are forgotten after the way forward and worked out again on the way back. Where all items are negatives, in
    order, and one item is asked for by its taste alone, `_SoftmaxOfAll` is quicker.
    """

    def __init__(self, model: NextItemModel, horizon: int) -> None:
        super().__init__()
        self.model = model
        self.horizon = horizon

    def forward(
        self,
        events: Tensor,
        candidates: Tensor,
        places: Tensor,
        positions: Tensor,
        is_asked: Tensor,
        is_wanted: Tensor,
        negatives: Tensor,
        log_chance: Tensor,
    ) -> Tensor:
        """The sum over all predictions that are asked."""
        model, items = self.model, events[..., 0]
        hidden = model.after(events if model.sees_both_sides else events[:, :-1], positions)
        if len(negatives) == model.num_items and self.horizon == 1 and not model.config.repeat_memory:
            targets = items.gather(1, positions + 1)[is_asked] - 1
            bias = model.popularity[negatives] if model.config.item_bias else None
            total: Tensor = _SoftmaxOfAll.apply(hidden[is_asked], model.vectors_of(negatives), bias, targets)
            return total
        of_customer = (hidden, items, candidates, places, positions, is_asked, is_wanted)
        logits = positions.shape[1] * (len(negatives) + candidates.shape[1])
        if model.config.repeat_memory or self.horizon > 1:
            logits += (
                places.shape[1] * candidates.shape[1]
            )  # which item stands at each place: in long sequences the most
        at_once = max(1, MOST_LOGITS // logits)
        if at_once >= len(items):
            return self._sum(*of_customer, negatives, log_chance)
        chunks = zip(*(torch.split(tensor, at_once) for tensor in of_customer), strict=True)
        parts = [checkpoint(self._sum, *chunk, negatives, log_chance, use_reentrant=False) for chunk in chunks]
        return torch.stack(parts).sum()

    def _sum(
        self,
        hidden: Tensor,
        items: Tensor,
        candidates: Tensor,
        places: Tensor,
        positions: Tensor,
        is_asked: Tensor,
        is_wanted: Tensor,
        negatives: Tensor,
        log_chance: Tensor,
    ) -> Tensor:
        model, num_candidates = self.model, candidates.shape[1]
        repeats: list[Tensor] = []
        if model.config.repeat_memory or self.horizon > 1:
            steps_ago = positions[..., None] - torch.arange(items.shape[1], device=items.device)
            taken = functional.one_hot(places, num_candidates).float() * (items > 0)[..., None]
            repeats = [fading @ taken for fading in model.fade(steps_ago)]
            is_coming = (steps_ago < 0) & (steps_ago >= -self.horizon)
            coming = is_coming.float() @ (taken * is_wanted[..., None])
            wanted = coming / coming.sum(dim=2, keepdim=True).clamp(min=1)
        else:
            wanted = functional.one_hot(places.gather(1, positions + 1), num_candidates).float()
        own = model.mix(model.tastes(hidden, candidates), hidden, repeats)
        own = own.masked_fill((candidates == 0)[:, None], NEVER)

        others = model.tastes(hidden, negatives).float() - log_chance
        others = others.masked_fill(_is_among(negatives, candidates, model.num_items)[:, None], NEVER)
        log_total = torch.logsumexp(torch.cat([own, others], dim=2), dim=2)
        losses = log_total - (wanted * own).sum(dim=2)
        return (losses * is_asked).sum()


class _SoftmaxOfAll(torch.autograd.Function):
    """The summed cross-entropy of the softmax over hidden . vector + bias, whose gradients are made on the way forward.

    Rows of `hidden` (predictions x width) are taken a few at a time, so that logits stay in the processor's cache, are
    never all there, and none is made twice: as in Liger Kernel (Hsu et al. 2024, arXiv:2410.10989).
    `vectors` are items x width, `bias` is by item or None, `targets` holds a place among the items for each row. `of_...`
    is the gradient of the sum by what it names.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, vectors: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        """The sum, in single precision; products in that of autocast, where it is on."""
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else vectors.dtype
        rows, items, at_once = hidden.to(dtype), vectors.to(dtype), max(1, LOGITS_IN_CACHE // len(vectors))
        total = hidden.new_zeros((), dtype=torch.float32)
        of_hidden, of_vectors = torch.empty_like(rows), torch.zeros_like(vectors)
        of_bias = torch.zeros_like(bias) if bias is not None else None
        with torch.autocast(device, enabled=False):
            for begin in range(0, len(rows), at_once):
                here = slice(begin, begin + at_once)
                wanted = targets[here, None]
                logits = (rows[here] @ items.T).float()
                logits = torch.log_softmax(logits if bias is None else logits + bias, dim=1)
                total -= logits.gather(1, wanted).sum()
                of_logits = logits.exp_()
                of_logits.scatter_add_(1, wanted, -torch.ones_like(wanted, dtype=of_logits.dtype))
                if of_bias is not None:
                    of_bias += of_logits.sum(dim=0)
                of_logits = of_logits.to(dtype)
                of_hidden[here] = of_logits @ items
                of_vectors += of_logits.T @ rows[here]
        ctx.save_for_backward(of_hidden.to(hidden), of_vectors, of_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *of_total: Tensor) -> tuple[Tensor | None, ...]:
        """Those of the way forward, as much as the sum counts."""
        (weight,) = of_total
        return *(None if each is None else each * weight for each in ctx.saved_tensors), None


def _is_among(negatives: Tensor, candidates: Tensor, num_items: int) -> Tensor:
    """Customers x negatives: whether the negative is one of the customer's own items."""
    num_negatives = len(negatives)
    place_of = torch.full((num_items + 1,), num_negatives, device=negatives.device)
    place_of[negatives] = torch.arange(num_negatives, device=negatives.device)
    marked = torch.zeros(len(candidates), num_negatives + 1, dtype=torch.bool, device=negatives.device)
    return marked.scatter_(1, place_of[candidates], value=True)[:, :num_negatives]
