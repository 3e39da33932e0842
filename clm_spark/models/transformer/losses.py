"""What training minimises: sampled softmax over each customer's own items and negatives drawn for the batch."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from clm_spark.models.transformer.network import NextItemModel

NEVER = -1e9  # a logit that no softmax sees


def next_items_loss(
    model: NextItemModel,
    *,
    items: Tensor,
    candidates: Tensor,
    places: Tensor,
    positions: Tensor,
    is_asked: Tensor,
    negatives: Tensor,
    horizon: int,
) -> Tensor:
    """Mean cross-entropy between the model's scores and the next `horizon` items, each with the same share.

    The tensors are a `Batch` of `data.py`, and `negatives` item indices drawn uniformly without repeats. The sum over
    all items in the softmax is estimated in two strata: the customer's own items are counted whole (they are the hard
    negatives: which of the usual things comes next), all others through the negatives, each of which stands for
    items / negatives of them. That is the log-Q correction (Bengio and Senecal 2008) with the targets left uncorrected,
    for they are there for certain and not by chance (Khrylchenko et al. 2025, arXiv:2507.09331).
    """
    steps_ago = positions[..., None] - torch.arange(items.shape[1], device=items.device)
    taken = functional.one_hot(places, candidates.shape[1]).float() * (items > 0)[..., None]
    coming = ((steps_ago < 0) & (steps_ago >= -horizon)).float() @ taken
    wanted = coming / coming.sum(dim=2, keepdim=True).clamp(min=1)

    hidden = model.hidden(items[:, :-1])
    hidden = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[2]))
    own = model.mix(
        hidden @ model.item_vectors[candidates].transpose(1, 2) + model.popularity[candidates][:, None],
        hidden,
        [fading @ taken for fading in model.fade(steps_ago)],
    ).masked_fill((candidates == 0)[:, None], NEVER)

    others = (hidden @ model.item_vectors[negatives].T + model.popularity[negatives]).float()
    is_own = (negatives[None, None] == candidates[..., None]).any(dim=1)
    others = others + math.log(model.num_items / len(negatives))
    others = others.masked_fill(is_own[:, None], NEVER)

    log_total = torch.logsumexp(torch.cat([own, others], dim=2), dim=2)
    losses = log_total - (wanted * own).sum(dim=2)
    return (losses * is_asked).sum() / is_asked.sum().clamp(min=1)
