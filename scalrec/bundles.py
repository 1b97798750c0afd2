"""Where bundles lie. Apart from training, so that serving and the fleet start without torch."""

from __future__ import annotations

from pathlib import Path

from scalrec.settings import Settings


def bundle_dir(settings: Settings) -> Path:
    """Where the bundle of these settings lies: one per log, device profile and text model."""
    model = Path(settings.embedder.model).name
    name = f"{settings.log.name}-{settings.profile.name}-{model}"
    return settings.work_dir / "bundles" / name
