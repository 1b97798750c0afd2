"""DUET: the cloud writes the last layers of the device's model, out of the user's history.

Lv et al., WWW 2023 (arXiv 2209.05227). The device's encoder is shared and fixed; what personalises
it is a snapshot of generated layers:

    cloud, from the history to tau:   z = GRU(v_x1, .., v_xtau),  z' = tanh(W z + b),
        W_l = U_l V_l' and b_l, l = 1, 2, linear in z'
    device, from the history to t:    e' = e + W_2 tanh(W_1 e + b_1) + b_2, scored as e is

It is the one other method that caches an artefact of the cloud, and thus the natural opponent of a
cached embedding: ``MethodCosts.snapshot_bytes`` says at what size.

Differs from the paper: the residual form, so that wrong weights do not destroy the base; factors of
rank 8 in place of full matrices (``rank=None`` has those); the base is the product's own structure,
frozen. As published the generated layers are learned from fresh histories (``gaps=(0,)``); ``duet``
draws the age of a history at each training step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.progress import Progress
from training.backbone.evaluate import structural_scores
from training.backbone.fit import TrainedBackbone
from training.background import in_thread
from training.baselines.base import (
    CLOUD_WINDOW,
    FLOAT_BYTES,
    FittedBaseline,
    Fitting,
    MethodCosts,
    Reads,
    Rows,
    World,
    best_items,
    weights_in,
)
from training.baselines.device_time import encoder_us
from training.baselines.duet.network import HyperNetwork
from training.baselines.duet.targets import Targets
from training.learning import Judged, Say, descend, fit_until, mean_loss, reproducible, weights_of
from training.steps import VALIDATION_GAPS

BATCH_SEGMENTS = 16
PATIENCE = 3


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
        if fitting.most_epochs is not None:
            return fitted
        spent = encoder_us(base.model) + network.layers_us()
        return replace(fitted, device_us=spent)


@dataclass(frozen=True, eq=False)
class FittedDuet:
    """The hypernetwork, and the device's base with counts of the own history beside it.

    Attributes:
        device_us: microseconds of a request on the device; None where it was not measured.
    """

    network: HyperNetwork
    base: TrainedBackbone
    device_us: float | None = None

    @property
    def costs(self) -> MethodCosts:
        base = weights_in(self.base.model, self.base.table)
        return MethodCosts(
            parameters=base + weights_in(self.network),
            device_bytes=FLOAT_BYTES * base,
            snapshot_bytes=FLOAT_BYTES * 2 * self.network.per_layer,
            device_us=self.device_us,
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
