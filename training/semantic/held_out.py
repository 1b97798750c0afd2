"""HeldOut: held-out requests with their own scores in memory, to rank them many times."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.metrics import RANK, Ranks, ndcg, ranks_of
from training.learning import few
from training.semantic.requests import ROWS_PER_BATCH, Requests

MAX_ROWS = 4096  # keeps the scores of all of them in memory, [rows, I]
# Rows [B] of the requests and their own scores [B, I] -> what may be ranked at each, [B, I].
Pool = Callable[[NDArray[np.int64], Tensor], Tensor]
Scores = Sequence[Tensor]  # of all requests, some rows at a time


class HeldOut:
    """Ranks what may be answered at a sample of requests, under any semantic embedding.

    Attributes:
        kept: [P] places within ``rows`` that are judged: at most MAX_ROWS, drawn once, and with
            ``exclude_seen`` only those whose target may be recommended.
        vectors: [I, d] v'_i, those of the requests unless others are put there.
        own: the requests' own scores of what is ranked.

    Args:
        rows: of ``requests``.
        exclude_seen: items a user had may not be recommended.
        pool: what is ranked; None ranks the whole catalogue.
    """

    def __init__(
        self,
        requests: Requests,
        rows: NDArray[np.int64],
        *,
        exclude_seen: bool,
        pool: Pool | None = None,
    ) -> None:
        kept = np.arange(len(rows))
        if exclude_seen and len(rows):
            kept = np.flatnonzero(requests.fresh_targets(rows))
        self.kept: NDArray[np.int64] = few(kept, MAX_ROWS)
        self.rows = rows[self.kept]
        self.vectors = requests.semantics
        self.own: list[Tensor] = []
        self._items: list[Tensor | None] = []  # [B, C] where not all of them are ranked
        self._target: list[tuple[Tensor, Tensor]] = []  # [B] its place, and whether it is there
        for index in torch.split(torch.from_numpy(self.rows), ROWS_PER_BATCH):
            scores, target = requests.structural(index), requests.target[index]
            there = torch.ones(len(index), dtype=torch.bool)
            items = None
            if exclude_seen:
                scores[requests.seen(index)] = -torch.inf
            if pool is not None:
                among = pool(index.numpy(), scores) & ~scores.isneginf()
                items, valid = _side_by_side(among)
                scores = scores.gather(1, items).masked_fill(~valid, -torch.inf)
                hit = (items == target[:, None]) & valid
                there, target = hit.any(1), hit.byte().argmax(1)
            self.own.append(scores)
            self._items.append(items)
            self._target.append((target, there))

    def gathered(self, dense: Callable[[Tensor], Tensor]) -> Scores:
        """What ``dense`` gives of all items [B, I] for rows [B], of those that are ranked."""
        parts = torch.split(torch.from_numpy(self.rows), ROWS_PER_BATCH)
        return [
            dense(index) if items is None else dense(index).gather(1, items)
            for index, items in zip(parts, self._items, strict=True)
        ]

    @torch.no_grad()
    def semantic(self, e_sem: Tensor) -> Scores:
        """<e_sem, v'_i> of what is ranked, for e_sem [P, d]."""
        found = []
        for part, items in zip(torch.split(e_sem, ROWS_PER_BATCH), self._items, strict=True):
            if items is None:
                found.append(part @ self.vectors.T)
            else:
                found.append(torch.einsum("bd,bcd->bc", part, self.vectors[items]))
        return found

    def ndcg_of(self, scores: Scores) -> NDArray[np.float64]:
        """[P] NDCG@10 under ``scores``; only where ``own`` is finite anything is ranked."""
        if not len(self.rows):
            return np.empty(0)
        return ndcg(np.concatenate([self._ranks(n, part) for n, part in enumerate(scores)]), 10)

    def ndcg10(self, e_sem: Tensor, weight: float, *, own: bool = True) -> NDArray[np.float64]:
        """[P] NDCG@10 of own score + weight * <e_sem, v'_i>, for e_sem [P, d].

        Args:
            own: False ranks by the semantic part alone.
        """
        base = self.own if own else [torch.where(s.isneginf(), s, 0.0) for s in self.own]
        if not weight:
            return self.ndcg_of(base)
        more = self.semantic(e_sem)
        return self.ndcg_of(added(base, more, weight))

    def mean(self, e_sem: Tensor, weight: float, *, own: bool = True) -> float:
        """Mean of ``ndcg10``; 0 without requests."""
        if len(self.rows) == 0:
            return 0.0
        return float(self.ndcg10(e_sem, weight, own=own).mean())

    def _ranks(self, number: int, scores: Tensor) -> Ranks:
        target, there = self._target[number]
        found = ranks_of(scores.numpy(), target.numpy())
        missing = ~there.numpy()
        found["expected"][missing], found["tied"][missing] = np.inf, 1
        return found.astype(RANK, copy=False)


def added(base: Scores, more: Scores, weight: float) -> Scores:
    """base + weight * more."""
    return [torch.add(a, b, alpha=weight) for a, b in zip(base, more, strict=True)]


def _side_by_side(among: Tensor) -> tuple[Tensor, Tensor]:
    """Items [B, C] of a mask [B, I], ascending, and which places [B, C] hold one."""
    size = max(1, int(among.sum(1).max()))
    items = torch.argsort(among.byte(), dim=1, descending=True, stable=True)[:, :size]
    return items, among.gather(1, items)
