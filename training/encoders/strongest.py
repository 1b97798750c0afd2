"""Sparsification by rank: which share of a row scores best, as a continuous function of it."""

from __future__ import annotations

import torch
from torch import Tensor

from training.encoders.pairs import FUTURE


def strongest(scores: Tensor, candidate: Tensor, share: float, band: float) -> Tensor:
    """Which ``share`` of each row's candidates scores best: 1, falling to 0 over ``band`` below.

    Args:
        scores: [B, Q, L]. candidate: bool of a shape that broadcasts to it.

    Returns:
        [B, Q, L]; 0 for what is no candidate.
    """
    count = candidate.to(scores.dtype).sum(-1, keepdim=True)
    weakest = (torch.ceil(share * count) - 1).clamp(min=0).long()
    with torch.no_grad():
        ordered = scores.masked_fill(~candidate, FUTURE).sort(-1, descending=True).values
    threshold = ordered.gather(-1, weakest.expand(*scores.shape[:-1], 1))
    return (1 + (scores - threshold) / band).clamp(0, 1) * candidate.to(scores.dtype)
