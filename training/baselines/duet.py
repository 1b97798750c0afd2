"""DUET: the cloud writes the last layers of the device's model, out of the user's history.

Lv et al., WWW 2023 (arXiv 2209.05227). The device's encoder is shared and fixed; what personalises
it is a snapshot of generated layers:

    cloud, from the history to tau:   z = GRU(v_x1, .., v_xtau),  z' = tanh(W z + b),
        W_l = U_l V_l' and b_l, l = 1, 2, linear in z'
    device, from the history to t:    e' = e + W_2 tanh(W_1 e + b_1) + b_2, scored as e is

It is the one other method that caches an artefact of the cloud, and thus the natural opponent of a
cached embedding: ``Costs.snapshot_bytes`` says at what size.

Differs from the paper: the residual form, so that wrong weights do not destroy the base; factors of
rank 8 in place of full matrices (``rank=None`` has those); the base is the product's own structure,
frozen. As published the generated layers are learned from fresh histories (``gaps=(0,)``); ``duet``
draws the age of a history at each training step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.progress import Progress
from training.backbone.batches import Events, windows_before
from training.backbone.evaluate import encode_requests, structural_scores
from training.backbone.fit import TrainedBackbone
from training.backbone.item_table import ItemParameters
from training.background import in_thread
from training.baselines.base import (
    CLOUD_WINDOW,
    Costs,
    FittedBaseline,
    Fitting,
    Reads,
    Rows,
    World,
    best_items,
    weights_in,
)
from training.learning import Judged, Say, descend, fit_until, mean_loss, reproducible, weights_of
from training.steps import VALIDATION_GAPS

FLOAT_BYTES = 4
SEGMENT = 100  # targets of one user that a pass of the GRU serves
BATCH_SEGMENTS = 16
PATIENCE = 3


class HyperNetwork(nn.Module):
    """The cloud's side: item vectors of a history -> the device's two layers.

    Args:
        dim: d of item vectors and of e_str. rank: of the factors; None: full matrices.
    """

    def __init__(self, dim: int, rank: int | None, hidden: int = 64) -> None:
        super().__init__()
        self.dim, self.rank = dim, rank
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.code = nn.Linear(hidden, hidden)
        self.weights = nn.Linear(hidden, 2 * self.per_layer)
        nn.init.normal_(self.weights.weight, std=0.02)
        nn.init.normal_(self.weights.bias, std=0.1)
        with torch.no_grad():  # W_2 = 0 and b_2 = 0: training starts from the base as it is
            last = slice(self.per_layer, self.per_layer + self._first_factor)
            for zero in (last, slice(2 * self.per_layer - dim, 2 * self.per_layer)):
                self.weights.weight[zero] = 0.0
                self.weights.bias[zero] = 0.0

    @property
    def _first_factor(self) -> int:
        return self.dim * (self.dim if self.rank is None else self.rank)

    @property
    def per_layer(self) -> int:
        """Numbers of one generated layer, its bias of d at the end."""
        factors = 1 if self.rank is None else 2
        return factors * self._first_factor + self.dim

    def states(self, vectors: Tensor) -> Tensor:
        """z [B, L, hidden] after each event of histories [B, L, d]."""
        found: Tensor = self.gru(vectors)[0]
        return found

    def generated(self, states: Tensor) -> Tensor:
        """[N, 2 * per_layer] the numbers of a snapshot, of states [N, hidden]."""
        found: Tensor = self.weights(torch.tanh(self.code(states)))
        return found

    def applied(self, numbers: Tensor, e_str: Tensor) -> Tensor:
        """e' [N, d]: the device's side."""
        first, second = numbers.split(self.per_layer, dim=1)
        return e_str + self._layer(second, torch.tanh(self._layer(first, e_str)))

    def _layer(self, numbers: Tensor, x: Tensor) -> Tensor:
        """W x + b with W = U V', or W itself."""
        bias, size = numbers[:, -self.dim :], self._first_factor
        if self.rank is None:
            square = numbers[:, :size].unflatten(1, (self.dim, self.dim))
            return torch.einsum("nij,nj->ni", square, x) + bias
        u = numbers[:, :size].unflatten(1, (self.dim, self.rank))
        v = numbers[:, size : 2 * size].unflatten(1, (self.dim, self.rank))
        return torch.einsum("nir,njr,nj->ni", u, v, x) + bias


@dataclass(frozen=True)
class Duet:
    """Its options.

    Attributes:
        gaps: ages of the cloud's history that a training step draws from.
        rank: of the generated factors; None: full matrices.
    """

    gaps: Sequence[int] = VALIDATION_GAPS
    rank: int | None = 8
    epochs: int = 15
    learning_rate: float = 1e-3
    reads: Reads = "both"

    async def fit(self, fitting: Fitting) -> FittedBaseline:
        return await in_thread(lambda shown: self._train(fitting, shown), fitting.progress)

    def _train(self, fitting: Fitting, progress: Progress) -> FittedDuet:
        base = fitting.trained.backbone
        targets = Targets.of(fitting, base)
        rng = np.random.default_rng(fitting.seed)
        with reproducible(fitting.seed, fitting.threads):
            network = HyperNetwork(base.model.config.dim, self.rank)
            optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate)
            fitted = FittedDuet(network, base)

            def step(_: int, chosen: NDArray[np.int64]) -> tuple[float, int]:
                network.train()
                loss, count = targets.loss(network, chosen, np.array(self.gaps), rng)
                if count == 0:  # every target is a repeat, and those are left out
                    return math.nan, 0
                return descend(optimizer, loss), count

            def learn(_: int, say: Say) -> float:
                order = rng.permutation(len(targets.segments))
                parts = np.split(order, range(BATCH_SEGMENTS, len(order), BATCH_SEGMENTS))
                return mean_loss(parts, step, say)

            def judge() -> Judged:
                network.eval()
                asked = [gap for gap in (0, 5) if gap in self.gaps]
                return Judged(float(np.mean([fitting.ndcg10(fitted.scores, g) for g in asked])))

            fit_until(
                fitting.epochs(self.epochs),
                weights_of(network=network),
                learn,
                judge,
                label="training DUET",
                progress=progress,
                patience=PATIENCE,
                start=judge,
            )
        network.eval()
        return fitted


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


@dataclass(frozen=True, eq=False)
class FittedDuet:
    """The hypernetwork, and the device's base with counts of the own history beside it."""

    network: HyperNetwork
    base: TrainedBackbone

    @property
    def costs(self) -> Costs:
        base = weights_in(self.base.model, self.base.table)
        return Costs(
            parameters=base + weights_in(self.network),
            device_bytes=FLOAT_BYTES * base,
            snapshot_bytes=FLOAT_BYTES * 2 * self.network.per_layer,
        )

    def snapshot(self, world: World, stale: Rows) -> Tensor:
        """[B, 2 * per_layer] the generated numbers at ``stale``."""
        windows = world.windows(stale, CLOUD_WINDOW)
        states = self.network.states(self.base.table.vectors.detach()[windows.item])
        return self.network.generated(states[torch.arange(len(stale)), windows.length - 1])

    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        return self._scored(world, fresh, stale) + world.count_bonus(fresh)

    def listed(self, world: World, stale: Rows, count: int) -> Tensor:
        return best_items(world, stale, self._scored(world, stale, stale), count)

    def _scored(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        requests, index = world.requests, torch.from_numpy(fresh)
        moved = self.network.applied(self.snapshot(world, stale), requests.e_str[index])
        copies, history = requests.copy_logit[index], requests.history[index]
        return structural_scores(moved, copies, history, self.base.table)
