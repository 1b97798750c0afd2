"""Full ranking of the structural channel: scores of all items and ranks of targets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.metrics import RANK, Ranks, ranks_of
from training.backbone.batches import Events, Windows, windows_before
from training.backbone.item_table import ItemParameters
from training.encoders.base import Encoder

ROWS_PER_BATCH = 256
ENCODED_PER_BATCH = 64  # their pairs of events stay near the processor; the values are the same


def structural_scores(
    e_str: Tensor, copy_logit: Tensor, history: Tensor, table: ItemParameters
) -> Tensor:
    """score(i) of every item for B requests, dense.

    Args:
        e_str: [B, d]. copy_logit: [B, L], NO_COPY in padding. history: [B, L] item indices.

    Returns:
        [B, I] <e_str, v_i> + b_i + log(1 + sum over {j : x_j = i} of exp(copy_logit_j)).
    """
    base = torch.addmm(table.bias, e_str, table.vectors.T)
    returns = torch.zeros_like(base).scatter_add_(1, history, copy_logit.exp())
    return base + torch.log1p(returns)


@torch.no_grad()
def encode_requests(
    model: Encoder, table: ItemParameters, windows: Windows
) -> tuple[Tensor, Tensor]:
    """e_str [R, d] and copy_logit [R, W] of each row's request, in batches, model in eval mode."""
    model.eval()
    e_str = torch.empty(len(windows), model.config.dim)
    copy_logit = torch.full(windows.item.shape, -torch.inf)
    # Rows of equal length go together: nothing is padded, as on the device.
    order = torch.argsort(windows.length, stable=True)
    _, counts = torch.unique_consecutive(windows.length[order], return_counts=True)
    for group in torch.split(order, counts.tolist()):
        for index in torch.split(group, ENCODED_PER_BATCH):
            batch = windows.rows(index)
            vectors = table(batch.item)
            e, c = model(vectors, batch.age_h, batch.hour, batch.request_hour)
            e_str[index] = e
            copy_logit[index, : c.shape[1]] = c
    return e_str, copy_logit


@torch.no_grad()
def target_ranks(
    model: Encoder,
    table: ItemParameters,
    events: Events,
    target: NDArray[np.int64],
    *,
    exclude_seen: bool = False,
) -> Ranks:
    """Rank of each target event among all items, from the W events before it.

    Args:
        events: the log; only events before a target are read, and the target's time and hour.
        target: [R] event rows.
        exclude_seen: items the user had before (in the whole history, not only in the window)
            cannot be recommended; a target among them is not ranked.

    Returns:
        [R], with ties.
    """
    windows = windows_before(events, target, model.config.window, target)
    e_str, copy_logit = encode_requests(model, table, windows)
    ranks = np.empty(len(target), RANK)
    for index in torch.split(torch.arange(len(target)), ROWS_PER_BATCH):
        scores = structural_scores(e_str[index], copy_logit[index], windows.item[index], table)
        ranks[index.numpy()] = dense_ranks(
            scores, events, target[index.numpy()], exclude_seen=exclude_seen
        )
    return ranks


def dense_ranks(
    scores: Tensor, events: Events, target: NDArray[np.int64], *, exclude_seen: bool
) -> Ranks:
    """Rank [B] of each target event under scores [B, I] of all items.

    Args and ranks as for ``target_ranks``. With ``exclude_seen`` the scores of items that cannot
    be recommended become -infinity, in place.
    """
    if exclude_seen:
        user = np.searchsorted(events.user_start, target, side="right") - 1
        for place, (start, stop) in enumerate(zip(events.user_start[user], target, strict=True)):
            seen = events.item[start:stop]
            scores[place, torch.from_numpy(seen.astype(np.int64))] = -torch.inf
    values, goal = scores.numpy(), events.item[target].astype(np.int64)
    return ranks_of(values, goal, values > -np.inf if exclude_seen else None)
