"""Plans of CDA4Rec: who retrieves, who ranks, and what that comes to for every item.

Long et al., arXiv 2509.01551: a strategy plan divides a request's sub-tasks between a cloud agent
and a device agent. Each plan here is one such division, made of parts that the product has.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.metrics import ndcg
from training.calibration.pairs import Pairs
from training.pools import Pools
from training.twin import Twin

Plan = Literal["device", "cloud", "fuse", "fuse-own", "rerank"]
PLANS: tuple[Plan, ...] = get_args(Plan)  # P1 .. P5, in this order everywhere
MEANING = {
    "device": "the device ranks what it holds by itself",
    "cloud": "the cloud's semantic order of its own list is taken as it is",
    "fuse": "device and cloud scores are added over the cloud's list",
    "fuse-own": "device and cloud scores are added over the list and the user's own items",
    "rerank": "the device orders the cloud's list by itself",
}
ROWS = 256


def plan_scores(
    pools: Pools, items: Tensor, weighted: Tensor, fusing: Tensor | None = None
) -> Tensor:
    """[B, 5, I] score of every item under every plan, in the order of PLANS.

    A plan ranks what it unites; the device puts all other items behind, in its own order, so that
    a list never ends before the catalogue does.

    Args:
        pools: of B requests.
        items: [B, N] the cloud's list.
        weighted: [B, d] its embedding, times the fusion weight.
        fusing: [B, d] what plans that fuse take in its place; None: the same.
    """
    own, listed = pools.structural, pools.listed(items)
    fused = pools.fused(weighted if fusing is None else fusing)
    of_plan: dict[Plan, tuple[Tensor, Tensor | None]] = {
        "device": (own, pools.alone()),
        "cloud": (weighted @ pools.vectors.T, listed),
        "fuse": (fused, listed),
        "fuse-own": (fused, pools.united(items)),
        "rerank": (own, listed),
    }
    return torch.stack([before_others(*of_plan[plan], own) for plan in PLANS], dim=1)


def before_others(scores: Tensor, among: Tensor | None, others: Tensor) -> Tensor:
    """[B, I] ``scores`` of the items ``among`` a pool, and below them all others.

    Args:
        among: [B, I]; None: every item, and nothing changes.
        others: [B, I] what orders items outside the pool.
    """
    if among is None:
        return scores
    inside = scores.masked_fill(~among, torch.inf)
    outside = others.masked_fill(among, -torch.inf)
    lowest, highest = inside.amin(1, keepdim=True), outside.amax(1, keepdim=True)
    behind = others + (lowest - highest - 1.0)
    # A pool without an outside, or without an inside, needs no shift.
    shifted = torch.where(torch.isfinite(behind), behind, others)
    return torch.where(among, scores, shifted)


@torch.no_grad()
def plan_gains(twin: Twin, pairs: Pairs) -> NDArray[np.float64]:
    """[P, 5] NDCG@10 in the whole catalogue of every plan at each pair."""
    found = np.empty((len(pairs), len(PLANS)))
    for start in range(0, len(pairs), ROWS):
        at = np.arange(start, min(start + ROWS, len(pairs)))
        stale = torch.from_numpy(pairs.stale[at])
        pools = twin.pools(pairs.fresh[at])
        scores = plan_scores(pools, twin.candidates[stale], twin.fusion_weight * twin.e_sem[stale])
        for place in range(len(PLANS)):
            found[at, place] = ndcg(pools.ranks(scores[:, place]), 10)
    return found
