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

    def forward(self, x: Tensor, rows: Tensor | None = None, among: int = 0) -> Tensor:
        """Of x [..., d]; or [N, d], which are some ``rows`` [N] of ``among``.

        Decisions are drawn for all rows, so that leaving some out changes nothing for others.
        """
        if not self.training or not self._dropped:
            return x
        count = x.numel() if rows is None else among * x.shape[-1]
        words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[:count].view(-1, x.shape[-1])
        draws = (draws if rows is None else draws.index_select(0, rows)).view(x.shape)
        kept = torch.ge(draws, self._dropped - 32768, out=x.new_empty(x.shape))
        return x * kept.mul_(self._scale)
