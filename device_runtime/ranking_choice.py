"""How devices rank, by its name in the settings."""

from __future__ import annotations

from shared.settings import DeviceSettings


def initial_share(settings: DeviceSettings) -> float | None:
    """alpha of collaborative inference where ``device.ranking`` asks for it; else None."""
    return settings.initial_share if settings.ranking == "collaborative" else None


def ranking_text(settings: DeviceSettings) -> str:
    """The ranking and its parameter in words, as reports print it."""
    if settings.ranking == "collaborative":
        return f"collaborative, alpha = {settings.initial_share:g}"
    return "semantic, calibrated" if settings.calibrate else "semantic, uncalibrated"
