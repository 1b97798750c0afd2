"""HeldOut: validation requests with their structural scores in memory, to rank them many times."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.metrics import RANK, ndcg, ranks_of
from training.semantic.requests import ROWS_PER_BATCH, Requests

MAX_ROWS = 4096  # keeps the structural scores of all of them in memory, [rows, I]


class HeldOut:
    """Ranks all items at a sample of requests under any semantic embedding.

    Attributes:
        kept: [P] places within ``rows`` that are judged: at most MAX_ROWS, drawn once, and with
            ``exclude_seen`` only those whose target may be recommended.

    Args:
        rows: of ``requests``.
        exclude_seen: items a user had may not be recommended.
    """

    def __init__(self, requests: Requests, rows: NDArray[np.int64], *, exclude_seen: bool) -> None:
        kept = np.arange(len(rows))
        if exclude_seen and len(rows):
            kept = np.flatnonzero(requests.fresh_targets(rows))
        if len(kept) > MAX_ROWS:
            kept = np.sort(np.random.default_rng(0).choice(kept, MAX_ROWS, replace=False))
        self.kept: NDArray[np.int64] = kept.astype(np.int64)
        self.rows = rows[self.kept]
        self._vectors = requests.table.vectors.detach()
        index = torch.from_numpy(self.rows)
        self._target = requests.target[index]
        self._structural = torch.empty(len(index), len(self._vectors))
        for at in torch.split(torch.arange(len(index)), ROWS_PER_BATCH):
            scores = requests.structural(index[at])
            if exclude_seen:
                scores[requests.seen(index[at])] = -torch.inf
            self._structural[at] = scores

    @torch.no_grad()
    def ndcg10(
        self, e_sem: Tensor, weight: float, *, structure: bool = True
    ) -> NDArray[np.float64]:
        """[P] NDCG@10 of s_str + weight * <e_sem, v_i> over all items, for e_sem [P, d].

        Args:
            structure: False ranks by the semantic part alone.
        """
        ranks = np.empty(len(self._target), RANK)
        for at in torch.split(torch.arange(len(self._target)), 2 * ROWS_PER_BATCH):
            scores = self._structural[at]
            if not structure:
                scores = torch.where(scores.isneginf(), scores, 0.0)
            if weight:
                scores = torch.addmm(scores, e_sem[at], self._vectors.T, alpha=weight)
            ranks[at.numpy()] = ranks_of(scores.numpy(), self._target[at].numpy())
        return ndcg(ranks, 10)

    def mean(self, e_sem: Tensor, weight: float, *, structure: bool = True) -> float:
        """Mean of ``ndcg10``; 0 without requests."""
        if len(self.rows) == 0:
            return 0.0
        return float(self.ndcg10(e_sem, weight, structure=structure).mean())
