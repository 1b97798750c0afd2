"""Structure models as methods of their own: the product's encoders, on the cloud or on the device.

*Equipped* ones have all that the product gives its own structure: item vectors from texts, times,
the return mechanism. On the cloud they read 200 events up to tau (SASRec: Kang & McAuley, ICDM
2018; SURGE: Chang et al., SIGIR 2021). On the device they are the fair readings of "an ensemble
costs twice": a wider or a deeper model of equal cost, and one that an ensemble taught.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from training.backbone.evaluate import encode_requests, structural_scores
from training.backbone.fit import TrainedBackbone
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


@dataclass(frozen=True)
class Structure:
    """One structure model, trained as the run's own is.

    Attributes:
        reads: cloud: 200 events up to tau; device: as many as the profile says, up to t, and beside
            the model the counts of the own history that the product's device has.
        training: settings in which it differs from the run's own.
    """

    reads: Reads
    training: Mapping[str, object] = field(default_factory=dict)

    async def fit(self, fitting: Fitting) -> FittedBaseline:
        window = CLOUD_WINDOW if self.reads == "cloud" else None
        run = fitting.sibling(window=window, **self.training)
        backbone = await run.backbone()
        timed = self.reads == "device" and fitting.most_epochs is None
        device_us = encoder_us(backbone.model) if timed else None
        return FittedStructure(self.reads, backbone, device_us)


@dataclass(frozen=True, eq=False)
class FittedStructure:
    """A trained backbone that ranks by its structural scores.

    Attributes:
        device_us: microseconds of a request; None where it was not measured.
    """

    reads: Reads
    backbone: TrainedBackbone
    device_us: float | None = None

    @property
    def costs(self) -> MethodCosts:
        count = weights_in(self.backbone.model, self.backbone.table)
        held = 0 if self.reads == "cloud" else FLOAT_BYTES * count
        return MethodCosts(parameters=count, device_bytes=held, device_us=self.device_us)

    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        if self.reads == "cloud":
            return self._structural(world, stale)
        return self._structural(world, fresh) + world.count_bonus(fresh)

    def listed(self, world: World, stale: Rows, count: int) -> Tensor:
        return best_items(world, stale, self._structural(world, stale), count)

    def _structural(self, world: World, rows: Rows) -> Tensor:
        model, table = self.backbone.model, self.backbone.table
        windows = world.windows(rows, model.config.window)
        e_str, copy_logit = encode_requests(model, table, windows)
        return structural_scores(e_str, copy_logit, windows.item, table)
