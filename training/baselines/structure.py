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
        if self.reads == "cloud":
            return CloudStructure(backbone)
        return DeviceStructure(backbone, device_us)


@dataclass(frozen=True, eq=False)
class CloudStructure:
    """A trained backbone in the cloud, which makes its own list by its structural scores."""

    backbone: TrainedBackbone

    @property
    def costs(self) -> MethodCosts:
        return MethodCosts(parameters=weights_in(self.backbone.model, self.backbone.table))

    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        return structural_at(self.backbone, world, stale)

    def listed(self, world: World, stale: Rows, count: int) -> Tensor:
        return best_items(world, stale, self.scores(world, stale, stale), count)


@dataclass(frozen=True, eq=False)
class DeviceStructure:
    """A trained backbone on the device, beside the counts of the own history.

    Attributes:
        device_us: microseconds of a request; None where it was not measured.
    """

    backbone: TrainedBackbone
    device_us: float | None = None

    @property
    def costs(self) -> MethodCosts:
        count = weights_in(self.backbone.model, self.backbone.table)
        return MethodCosts(
            parameters=count, device_bytes=FLOAT_BYTES * count, device_us=self.device_us
        )

    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        return structural_at(self.backbone, world, fresh) + world.count_bonus(fresh)


def structural_at(backbone: TrainedBackbone, world: World, rows: Rows) -> Tensor:
    """[B, I] structural scores of the events before ``rows``."""
    model, table = backbone.model, backbone.table
    windows = world.windows(rows, model.config.window)
    e_str, copy_logit = encode_requests(model, table, windows)
    return structural_scores(e_str, copy_logit, windows.item, table)
