"""Drift compensation without learning: a cached embedding moves as the items its user meets do.

e_sem(tau) + beta (mean v of items met since - mean v of items met before tau), one beta for each
group of ages, chosen on validation (in the manner of drift compensation for query embeddings). At
beta 0 the cached embedding stays as it is, and so it does where nothing was met since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.calibration.pairs import Pairs, means_between, recent_means
from training.semantic.requests import Requests

Floats = NDArray[np.float64]
Ages = NDArray[np.int64]

BETAS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
EDGES = (3, 8)  # first ages of the second and of the third group


def drifts(requests: Requests, pairs: Pairs, window: int) -> Tensor:
    """[P, d] mean vector of the items met since tau minus that of those met before it.

    Both means are over at most ``window`` events, the last ones on either side of tau; zero where
    nothing was met since.
    """
    moved = recent_means(requests, pairs, window) - means_before(requests, pairs.stale, window)
    tau = requests.anchors.tau
    return moved * torch.from_numpy(tau[pairs.fresh] > tau[pairs.stale])[:, None]


def means_before(requests: Requests, rows: NDArray[np.int64], window: int) -> Tensor:
    """[R, d] mean vector of the last ``window`` items met before each of the anchors ``rows``."""
    first = requests.events.user_start[requests.anchors.user[rows]]
    stop = first + requests.anchors.tau[rows]
    return means_between(requests, np.maximum(first, stop - window), stop)


@dataclass(frozen=True)
class Compensation:
    """How far a snapshot of each age moves.

    Attributes:
        edges: [G - 1] ascending, the first age of every group but the youngest.
        betas: [G] of each group.
    """

    edges: tuple[int, ...]
    betas: tuple[float, ...]

    def of(self, stale: Tensor, drift: Tensor, ages: Ages) -> Tensor:
        """[P, d] of e_sem(tau) [P, d], its drift [P, d] and t - tau [P]."""
        beta = np.array(self.betas)[groups_of(ages, self.edges)]
        return (stale.double() + torch.from_numpy(beta)[:, None] * drift.double()).float()


def groups_of(ages: Ages, edges: Sequence[int]) -> NDArray[np.int64]:
    """[P] number of the group of each age."""
    return np.searchsorted(np.asarray(edges), ages, side="right").astype(np.int64)


def fit_compensation(
    stale: Tensor,
    drift: Tensor,
    ages: Ages,
    score: Callable[[Tensor], Floats],
    *,
    betas: Sequence[float] = BETAS,
    edges: Sequence[int] = EDGES,
) -> Compensation:
    """The beta of every group with the highest mean score; of equal ones the nearest to none.

    Args:
        stale, drift: [P, d] of validation pairs. ages: [P] t - tau.
        score: [P, d] -> [P] of every pair on validation, the higher the better.

    Returns:
        beta 0 for a group without pairs.
    """
    group = groups_of(ages, edges)
    tried = sorted(betas, key=abs)
    figures = [score((stale.double() + beta * drift.double()).float()) for beta in tried]
    chosen = []
    for number in range(len(edges) + 1):
        here = group == number
        means = [float(each[here].mean()) if here.any() else 0.0 for each in figures]
        chosen.append(tried[int(np.argmax(means))] if here.any() else 0.0)
    return Compensation(tuple(edges), tuple(chosen))
