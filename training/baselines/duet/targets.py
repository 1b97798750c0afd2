"""Targets: training requests as a frozen device encodes them, and the loss of generated layers."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.backbone.batches import Events, windows_before
from training.backbone.evaluate import encode_requests, structural_scores
from training.backbone.fit import TrainedBackbone
from training.backbone.item_table import ItemParameters
from training.baselines.base import CLOUD_WINDOW, Fitting
from training.baselines.duet.network import HyperNetwork

SEGMENT = 100  # targets of one user that a pass of the GRU serves


@dataclass(frozen=True, eq=False)
class Targets:
    """Every training target with what the frozen device makes of its request.

    Attributes:
        events: training events; a row names a target.
        segments: [S, 3] first event row of a history, first target row and the row behind the last
            target, all of one user.
        table: frozen items of the base.
        e_str: [n, d] and copy_logit: [n, W], by row; history: [n, W].
        exclude: repeats are no targets, and what a user had does not compete.
    """

    events: Events
    segments: NDArray[np.int64]
    table: ItemParameters
    e_str: Tensor
    copy_logit: Tensor
    history: Tensor
    exclude: bool

    @classmethod
    def of(cls, fitting: Fitting, base: TrainedBackbone) -> Targets:
        events = fitting.learned
        first = events.user_start[:-1].repeat(np.diff(events.user_start))
        rows = np.flatnonzero(np.arange(len(events.item)) > first)
        width = base.model.config.window
        e_str = torch.zeros(len(events.item), base.model.config.dim)
        copy_logit = torch.full((len(events.item), width), -torch.inf)
        history = torch.zeros(len(events.item), width, dtype=torch.long)
        for part in np.array_split(rows, max(1, len(rows) // 4096)):
            windows = windows_before(events, part, width, part)
            at = torch.from_numpy(part)
            e_str[at], copy_logit[at] = encode_requests(base.model, base.table, windows)
            history[at] = windows.item
        return cls(
            events=events,
            segments=segments_of(events),
            table=copy.deepcopy(base.table).requires_grad_(False),
            e_str=e_str,
            copy_logit=copy_logit,
            history=history,
            exclude=fitting.run.policy == "exclude",
        )

    def loss(
        self,
        network: HyperNetwork,
        chosen: NDArray[np.int64],
        gaps: NDArray[np.integer],
        rng: np.random.Generator,
    ) -> tuple[Tensor, int]:
        """Mean cross-entropy over the catalogue at the targets of some segments, and how many."""
        events, table = self.events, self.table
        start, first, stop = self.segments[chosen].T
        place = np.arange(CLOUD_WINDOW)
        real = place < (stop - start)[:, None]
        read = np.where(real, start[:, None] + place, start[:, None])
        item = torch.from_numpy(events.item[read].astype(np.int64))
        states = network.states(table.vectors[item])
        segment, at = np.nonzero(real & (place >= (first - start)[:, None]))
        row = start[segment] + at
        # ``at`` events of the segment are known at the request; its history may be older.
        known = np.maximum(at - rng.choice(gaps, len(at)), 1)
        target = torch.from_numpy(events.item[row].astype(np.int64))
        barred = self._had(item, segment, at) if self.exclude else None
        if barred is not None:
            fresh = ~barred[torch.arange(len(row)), target]
            keep = fresh.numpy()
            segment, known, row = segment[keep], known[keep], row[keep]
            target, barred = target[fresh], barred[fresh]
        numbers = network.generated(states[torch.from_numpy(segment), torch.from_numpy(known) - 1])
        index = torch.from_numpy(row)
        moved = network.applied(numbers, self.e_str[index])
        logits = structural_scores(moved, self.copy_logit[index], self.history[index], table)
        if barred is not None:
            logits = logits.masked_fill(barred, -torch.inf)
        return nn.functional.cross_entropy(logits, target), len(row)

    def _had(self, item: Tensor, segment: NDArray[np.int64], at: NDArray[np.int64]) -> Tensor:
        """[N, I] what each user met within the segment before the target."""
        before = torch.arange(CLOUD_WINDOW) < torch.from_numpy(at)[:, None]
        items = item[torch.from_numpy(segment)]
        items = torch.where(before, items, items[:, :1])
        had = torch.zeros(len(at), len(self.table.bias), dtype=torch.bool)
        return had.scatter_(1, items, True)


def segments_of(events: Events) -> NDArray[np.int64]:
    """[S, 3] of ``Targets``: at most SEGMENT targets, after at most as many earlier events."""
    found = []
    for start, stop in zip(events.user_start[:-1], events.user_start[1:], strict=True):
        for first in range(int(start) + 1, int(stop), SEGMENT):
            behind = max(int(start), first - (CLOUD_WINDOW - SEGMENT))
            found.append((behind, first, min(int(stop), first + SEGMENT)))
    return np.array(found, dtype=np.int64).reshape(-1, 3)
