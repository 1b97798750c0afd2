"""How devices rank, by its name in the settings."""

from __future__ import annotations

from device_runtime.settings import DeviceSettings
from shared.collaboration import CollaborationSpec


def collaboration(
    settings: DeviceSettings, bundle: CollaborationSpec | None
) -> CollaborationSpec | None:
    """How devices collaborate where ``device.ranking`` asks for it; else None.

    Args:
        bundle: what the bundle's manifest says; the settings that are given go before it.
    """
    if settings.ranking != "collaborative":
        return None
    given = {"initial_share": settings.initial_share, "adaptation_rate": settings.adaptation_rate}
    known = {name: value for name, value in given.items() if value is not None}
    return (bundle or CollaborationSpec()).model_copy(update=known)


def ranking_text(settings: DeviceSettings, bundle: CollaborationSpec | None) -> str:
    """The ranking and its parameters in words, as reports print it; ``bundle`` as above."""
    spec = collaboration(settings, bundle)
    if spec is None:
        return "semantic, calibrated" if settings.calibrate else "semantic, uncalibrated"
    text = f"collaborative, alpha = {spec.initial_share:g}"
    if spec.adaptation_rate:
        text += f", adapting at rate {spec.adaptation_rate:g}"
    return text
