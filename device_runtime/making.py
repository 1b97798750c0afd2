"""make_device: a device put together as its settings say."""

from __future__ import annotations

import numpy as np

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.clock import Clock
from device_runtime.cloud.snapshot_cache import SnapshotCache
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.refresh.budgeted import Budget
from device_runtime.refresh.names import PolicyMaker, collaboration, make_policy
from device_runtime.settings import DeviceSettings


def make_device(
    user: str,
    models: DeviceModels,
    writer: TemplateAbstract,
    settings: DeviceSettings,
    rng: np.random.Generator,
    *,
    cache: SnapshotCache | None = None,
    budget: Budget | None = None,
    other_policy: PolicyMaker | None = None,
    clock: Clock | None = None,
    steady: Clock | None = None,
) -> Device:
    """One user's device.

    Args:
        user, models, writer, cache, clock, steady: as ``Device`` takes them.
        settings: its refresh policy and ranking.
        rng: the device's own, for policies that draw.
        budget: what the devices of a fleet share; None: this device has its own.
        other_policy: makes the policy where an installed package brings it.

    Raises:
        ConfigError: the bundle lacks what the policy needs, or there is no such policy.
    """
    reads = models.manifest.text_student is not None
    return Device(
        user,
        models,
        writer,
        cache=cache,
        policy=make_policy(
            settings,
            rng,
            gain=models.gain,
            known=models.call_rates,
            fleet=budget,
            other=other_policy,
        ),
        clock=clock,
        steady=steady,
        calibrate=settings.calibrate,
        collaboration=collaboration(settings, models.manifest.collaboration),
        digest=writer.digest() if reads else None,
    )
