"""Srm: a device's small recommendation model as a re-ranker, whichever kind it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.metrics import RANK, Ranks, ranks_of
from shared.split import stale_tau
from training.backbone.batches import Windows, windows_before
from training.backbone.evaluate import structural_scores
from training.backbone.item_table import ItemParameters
from training.backbone.scorer_fit import score_all, score_candidates
from training.collaboration.asked import Asked
from training.encoders.base import Encoder
from training.encoders.candidate_scorer import CandidateScorer

ROWS = 256


class Srm(Protocol):
    """Scores items for requests of equal history length (nothing is padded, as on a device)."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def table(self) -> ItemParameters: ...

    @property
    def window(self) -> int: ...

    def of(self, rows: Windows, items: Tensor) -> Tensor:
        """[R, C] scores of each row's candidates [R, C]; gradients flow."""
        ...

    def all(self, rows: Windows) -> Tensor:
        """[R, I] scores of every item."""
        ...


class EncoderSrm:
    """SASRec, GRU4Rec, SURGE: one state scores every item."""

    def __init__(self, model: Encoder, table: ItemParameters) -> None:
        self.model, self.table, self.window = model, table, model.config.window

    def encode(self, rows: Windows) -> tuple[Tensor, Tensor]:
        """e_str [R, d] and copy logits [R, L]."""
        e_str, copies = self.model(self.table(rows.item), rows.age_h, rows.hour, rows.request_hour)
        return e_str, copies

    def of(self, rows: Windows, items: Tensor) -> Tensor:
        e_str, copies = self.encode(rows)
        base: Tensor = (self.table(items) @ e_str[..., None])[..., 0] + self.table.bias[items]
        return base + self.bonus(copies, rows, items)

    def all(self, rows: Windows) -> Tensor:
        return structural_scores(*self.encode(rows), rows.item, self.table)

    def bonus(self, copies: Tensor, rows: Windows, items: Tensor) -> Tensor:
        """[R, C] what the return mechanism adds."""
        if self.model.copy is None:
            return torch.zeros(items.shape)
        same = rows.item[:, :, None] == items[:, None, :]  # [R, L, C]
        return torch.log1p((copies.exp()[:, :, None] * same).sum(1))


class ScorerSrm:
    """DIN: history and candidate meet inside the network."""

    def __init__(self, model: CandidateScorer, table: ItemParameters) -> None:
        self.model, self.table, self.window = model, table, model.config.window

    def of(self, rows: Windows, items: Tensor) -> Tensor:
        return score_candidates(self.model, self.table, rows, items)

    def all(self, rows: Windows) -> Tensor:
        return score_all(self.model, self.table, rows)


def windows_of(srm: Srm, asked: Asked, gap: int = 0) -> Windows:
    """What the device sees of each request; with a gap, what it saw so many events before."""
    rows = asked.events.user_start[asked.user] + stale_tau(asked.step, gap)
    return windows_before(asked.events, rows, srm.window, rows)


def equal_lengths(
    length: Tensor, size: int, rng: np.random.Generator | None = None
) -> Iterator[Tensor]:
    """Rows [<= size] of equal length, all rows once; in random order with ``rng``."""
    shuffled = torch.arange(len(length))
    if rng is not None:
        shuffled = torch.from_numpy(rng.permutation(len(length)))
    order = shuffled[torch.argsort(length[shuffled], stable=True)]
    _, counts = torch.unique_consecutive(length[order], return_counts=True)
    batches = [b for group in torch.split(order, counts.tolist()) for b in torch.split(group, size)]
    places = range(len(batches)) if rng is None else rng.permutation(len(batches))
    for place in places:
        yield batches[place]


@torch.no_grad()
def list_scores(
    srm: Srm, asked: Asked, items: NDArray[np.integer], *, gap: int = 0
) -> NDArray[np.float32]:
    """[R, n] scores of each request's candidates [R, n]; in real time P_rerank of eq. 8.

    Args:
        gap: events the history lacks.
    """
    srm.model.eval()
    windows = windows_of(srm, asked, gap)
    candidates = torch.from_numpy(items.astype(np.int64))
    scores = torch.empty(items.shape)
    for index in equal_lengths(windows.length, ROWS):
        scores[index] = srm.of(windows.rows(index), candidates[index])
    return scores.numpy()


@torch.no_grad()
def full_ranks(srm: Srm, asked: Asked, *, exclude_seen: bool, gap: int = 0) -> Ranks:
    """[R] ranks of the targets among all items that may be recommended.

    Args:
        gap: events the history lacks; what may be recommended is known in real time.
    """
    srm.model.eval()
    windows, target = windows_of(srm, asked, gap), asked.target
    seen = asked.known_at(0)
    ranks = np.empty(len(asked), RANK)
    for index in equal_lengths(windows.length, ROWS):
        scores = srm.all(windows.rows(index))
        if exclude_seen:
            for place, row in enumerate(index.tolist()):
                scores[place, torch.from_numpy(seen[row].astype(np.int64))] = -torch.inf
        values = scores.numpy()
        ranks[index.numpy()] = ranks_of(
            values, target[index], values > -np.inf if exclude_seen else None
        )
    return ranks
