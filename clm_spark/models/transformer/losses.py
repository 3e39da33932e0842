"""What training minimises: softmax over each customer's own items and negatives drawn for the batch."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from clm_spark.models.transformer.network import NextItemModel

NEVER = -1e9  # a logit that no softmax sees
MOST_LOGITS = 1 << 25  # of one chunk: 128 MiB of 4 bytes each


class NextItemsLoss(nn.Module):
    """The summed cross-entropy between a model's scores and the wanted of the next `horizon` items, each with the same share.

    The tensors are those of a `Batch` of `batches.py`; `negatives` are different item indices and `log_chance` is the
    logarithm of the chance with which each was drawn. The sum over all items in the softmax is estimated in two strata:
    the customer's own items are counted whole (they are the hard negatives: which of the usual things comes next), all
    others through the negatives, each of which stands for 1 / chance of them. That is the log-Q correction (Bengio and
    Senecal 2008) with the targets left uncorrected, for they are there for certain and not by chance (Khrylchenko et
    al. 2025, arXiv:2507.09331).

    Customers are taken a few at a time where the logits of all would be more than `MOST_LOGITS`; those of one chunk
    are forgotten after the way forward and worked out again on the way back.
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
        items = events[..., 0]
        hidden = self.model.after(events if self.model.sees_both_sides else events[:, :-1], positions)
        of_customer = (hidden, items, candidates, places, positions, is_asked, is_wanted)
        logits = positions.shape[1] * (len(negatives) + candidates.shape[1])
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


def _is_among(negatives: Tensor, candidates: Tensor, num_items: int) -> Tensor:
    """Customers x negatives: whether the negative is one of the customer's own items."""
    num_negatives = len(negatives)
    place_of = torch.full((num_items + 1,), num_negatives, device=negatives.device)
    place_of[negatives] = torch.arange(num_negatives, device=negatives.device)
    marked = torch.zeros(len(candidates), num_negatives + 1, dtype=torch.bool, device=negatives.device)
    return marked.scatter_(1, place_of[candidates], value=True)[:, :num_negatives]
