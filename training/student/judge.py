"""StudentJudge: what a text student is worth on held-out requests, alone and in the device's score.

Unlike ``HeldOut`` it is told the item vectors anew each time, because they may be in training.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.metrics import RANK, ndcg, ranks_of
from training.semantic.held_out import MAX_ROWS
from training.semantic.requests import ROWS_PER_BATCH, Requests

TEXT_WEIGHTS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


class StudentJudge:
    """Own scores of a sample of requests over the catalogue, in memory.

    Attributes:
        user, step: [P] of the requests that are judged: MAX_ROWS at most, drawn once, and with
            ``exclude_seen`` only those whose target may be recommended.
        own: NDCG@10 by the device's own score without the student.

    Args:
        rows: of ``requests``.
        exclude_seen: items a user had may not be recommended.
    """

    def __init__(self, requests: Requests, rows: NDArray[np.int64], *, exclude_seen: bool) -> None:
        if exclude_seen and len(rows):
            rows = rows[requests.fresh_targets(rows)]
        if len(rows) > MAX_ROWS:
            rows = np.sort(np.random.default_rng(0).choice(rows, MAX_ROWS, replace=False))
        self.user, self.step = requests.anchors.user[rows], requests.anchors.tau[rows]
        index = torch.from_numpy(rows)
        self._target = requests.target[index].numpy()
        self._scores = []
        for at in torch.split(index, ROWS_PER_BATCH):
            scores = requests.structural(at)
            if exclude_seen:
                scores[requests.seen(at)] = -torch.inf
            self._scores.append(scores)
        nothing = torch.zeros(len(rows), 1)
        self.own = self._mean(nothing, torch.zeros(len(requests.table.bias), 1), 0.0)

    def of(self, e_text: Tensor, vectors: Tensor) -> tuple[float, float, float]:
        """NDCG@10 of e_text [P, d] alone, its best weight, and NDCG@10 of both at that weight."""
        scores = {w: self._mean(e_text, vectors, w) for w in TEXT_WEIGHTS if w} | {0.0: self.own}
        # Ties (few validation users) go to the weight nearest to the one it was fitted with.
        best = max(TEXT_WEIGHTS, key=lambda w: (scores[w], -abs(w - 1.0)))
        return self._mean(e_text, vectors, 1.0, own=False), best, scores[best]

    @torch.no_grad()
    def _mean(self, e_text: Tensor, vectors: Tensor, weight: float, *, own: bool = True) -> float:
        if not len(self._target):
            return 0.0
        ranks, first = np.empty(len(self._target), RANK), 0
        for scores in self._scores:
            at = slice(first, first + len(scores))
            base = scores if own else torch.where(scores.isneginf(), scores, 0.0)
            total = torch.addmm(base, e_text[at], vectors.T, alpha=weight) if weight else base
            ranks[at] = ranks_of(total.numpy(), self._target[at])
            first = at.stop
        return float(ndcg(ranks, 10).mean())
