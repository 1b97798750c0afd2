"""Dropout that takes four decisions from each random word; the generator is what dropout costs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WordDropout(nn.Module):
    """As nn.Dropout; the probability is rounded to 1 / 65536."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self._dropped = round(p * 65536)
        self._scale = 65536 / (65536 - self._dropped)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self._dropped:
            return x
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[: x.numel()].view(x.shape)
        return x * (draws >= self._dropped - 32768).to(x.dtype).mul_(self._scale)
