"""What a cell's process is told: the recipe of its model, and the device it is measured for."""

from __future__ import annotations

from device_runtime.settings import DeviceSettings
from training.settings import Recipe


class CellSettings(Recipe):
    """A recipe and the device that refresh policies are compared for."""

    device: DeviceSettings = DeviceSettings()
