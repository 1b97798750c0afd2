"""What a device adapts to at a request: its last own transitions, over a short list of items."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.backbone.objective import RepeatPolicy
from training.baselines.dccl.patch import PastTransitions
from training.baselines.frozen_answers import FrozenAnswers

Rows = NDArray[np.int64]


def transitions_before(
    base: FrozenAnswers, rows: Rows, policy: RepeatPolicy, *, count: int, candidates: int
) -> PastTransitions:
    """The last ``count`` transitions before each of the events ``rows`` [M] of ``base``.

    Competing items are the best ``candidates`` of the unpatched model at ``rows``, those that
    followed, and those of the window.

    Raises:
        DataError: one of ``rows`` is its user's first event.
    """
    start = base.events.user_start
    first = start[np.searchsorted(start, rows, side="right") - 1]
    past = rows[:, None] - np.arange(count, 0, -1)
    counted = past > first[:, None]  # a user's first event follows nothing
    past = np.where(counted, past, rows[:, None])
    base.require(np.unique(np.concatenate([rows, past[counted]])))
    at, before = torch.from_numpy(rows), torch.from_numpy(past)
    item = torch.from_numpy(base.events.item.astype(np.int64))
    history = base.history(at)
    # The request's own item is not known; where nothing is counted it must not compete either.
    followed = torch.where(torch.from_numpy(counted), item[before], history[:, :1])
    best = base.scores(at, policy).topk(min(candidates, len(base.table.bias)), dim=1).indices
    items, alone = _once(torch.cat([best, followed, history], 1))
    offsets = base.offsets(before.flatten(), policy).view(*past.shape, -1)
    offsets = offsets.gather(2, items[:, None, :].expand(-1, count, -1))
    offsets = offsets.masked_fill(~alone[:, None, :], -torch.inf)
    place = (items[:, None, :] == followed[:, :, None]).byte().argmax(2)
    return PastTransitions(
        states=base.e_str[before].double().numpy(),
        vectors=base.table.vectors.detach()[items].double().numpy(),
        offsets=offsets.double().numpy(),
        target=place.numpy(),
        counted=counted,
    )


def _once(items: Tensor) -> tuple[Tensor, Tensor]:
    """Items [M, C] ascending, and which places [M, C] hold one for the first time."""
    ordered, _ = items.sort(1)
    alone = torch.ones_like(ordered, dtype=torch.bool)
    alone[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return ordered, alone
