"""One structure model taught by two: cross-entropy beside the distance from their joint answer.

L = -log p(next item) + WEIGHT * KL(q || p), with q the normalised geometric mean of the teachers'
distributions over the whole catalogue: what the mean of their log probabilities ranks by, which is
how studies score an ensemble. It tells how much of an ensemble's lead needs no second model on the
device (Hinton et al., arXiv 1503.02531, at temperature 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.backbone.batches import Windows
from training.backbone.fit import TrainedBackbone
from training.backbone.item_table import ItemParameters
from training.backbone.objective import Objective, RepeatPolicy
from training.encoders.base import Encoder

WEIGHT = 0.5  # of the teachers beside the label


def distilling(teachers: Sequence[TrainedBackbone], repeat_policy: RepeatPolicy) -> Objective:
    """What a backbone minimises that is taught by ``teachers``, which have its items."""

    def losses(model: Encoder, table: ItemParameters, windows: Windows) -> Tensor:
        log_p, following = answers(model, table, windows, repeat_policy)
        with torch.no_grad():
            said = [answers(t.model, t.table, windows, repeat_policy)[0] for t in teachers]
        label = -log_p.gather(1, following[:, None])[:, 0]
        return label + WEIGHT * divergence(joint(said), log_p)

    return losses


def answers(
    model: Encoder, table: ItemParameters, windows: Windows, repeat_policy: RepeatPolicy
) -> tuple[Tensor, Tensor]:
    """log p of every item [N, I] at each wanted place, and the item that followed there [N].

    The dense form of ``next_item_log_likelihood``: with ``exclude`` items of the row's own past
    have -inf, and places whose next item is one of them are left out.
    """
    vectors = table(windows.item)
    e_str, copy_logit = model.encode(vectors, windows.age_h, windows.hour, windows.request_hour)
    width = windows.item.shape[1]
    past = torch.ones(width, width, dtype=torch.bool).tril()
    wanted = windows.wanted
    if repeat_policy == "exclude":
        same = windows.item[:, None, :] == windows.next_item[:, :, None]
        wanted = wanted & ~(same & past).any(-1)
    row, place = wanted.nonzero(as_tuple=True)
    scores = torch.addmm(table.bias, e_str[row, place], table.vectors.T)
    history = windows.item[row]  # [N, W]
    if repeat_policy == "exclude":
        # Events after the place name the row's first item instead, which is always in the past.
        barred = torch.where(past[place], history, history[:, :1])
        scores = scores.scatter(1, barred, -torch.inf)
    elif model.copy is not None:
        copies = copy_logit[row, place].exp()  # 0 at events after the place
        scores = scores + torch.log1p(torch.zeros_like(scores).scatter_add(1, history, copies))
    return scores.log_softmax(1), windows.next_item[row, place]


def joint(log_p: Sequence[Tensor]) -> Tensor:
    """log of the normalised geometric mean of distributions [N, I]."""
    return torch.stack(list(log_p)).mean(0).log_softmax(1)


def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    """KL(q || p) [N]; an item that q gives nothing adds nothing."""
    nothing = log_q.isneginf()
    apart = log_q.masked_fill(nothing, 0.0) - log_p.masked_fill(nothing, 0.0)
    return (log_q.exp() * apart).sum(1)
