"""The mean of a user's last snapshots: what a store can serve that never forgets at once.

Average pooling over the last stored embeddings is how SUM serves asynchronously computed user
embeddings that drift (arXiv 2311.09544). It costs nothing but memory, and trades age
for noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from shared.split import MIN_HISTORY
from training.calibration.pairs import Pairs
from training.semantic.anchors import Anchors

COUNTS = (1, 2, 3, 4)


def averaged(anchors: Anchors, pairs: Pairs, e_sem: Tensor, *, count: int, every: int) -> Tensor:
    """[P, d] mean of the snapshots of tau, tau - every, .. , ``count`` of them at most.

    Moments before a user's first snapshot, and those without an anchor, are left out; the held
    snapshot itself always counts.

    Args:
        e_sem: [A, d] at every anchor.
        every: events between two refreshes.

    Raises:
        ValueError: ``count`` or ``every`` is below 1.
    """
    if count < 1 or every < 1:
        raise ValueError(f"count and every must be at least 1, not {count} and {every}")
    user, tau = anchors.user[pairs.stale], anchors.tau[pairs.stale]
    total = e_sem[torch.from_numpy(pairs.stale)].double()
    found = np.ones(len(pairs))
    for back in range(1, count):
        then = tau - back * every
        # No moment before MIN_HISTORY is asked for: the key of one would be another user's.
        rows = np.where(then >= MIN_HISTORY, anchors.find(user, np.maximum(then, 0)), -1)
        there = rows >= 0
        total[torch.from_numpy(there)] += e_sem[torch.from_numpy(rows[there])].double()
        found += there
    return (total / torch.from_numpy(found)[:, None]).float()


def fit_count(
    mean_of: Callable[[int], Tensor],
    score: Callable[[Tensor], float],
    counts: Sequence[int] = COUNTS,
) -> int:
    """How many snapshots score best on validation; of equal counts the smallest.

    Args:
        mean_of: count -> [P, d] of validation pairs (see ``averaged``).
        score: the higher the better.
    """
    return max(sorted(counts), key=lambda count: score(mean_of(count)))
