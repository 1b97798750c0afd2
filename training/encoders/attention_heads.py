"""Channels apart by attention head, and together again.

Shapes: B batch, L events, H heads, d dim.
"""

from __future__ import annotations

from torch import Tensor


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, L, d] -> [H, B, L, d / H]."""
    batch, length, dim = x.shape
    return x.reshape(batch, length, heads, dim // heads).permute(2, 0, 1, 3)


def join_heads(x: Tensor) -> Tensor:
    """[H, B, Q, d / H] -> [B, Q, d]."""
    return x.permute(1, 2, 0, 3).flatten(2)
